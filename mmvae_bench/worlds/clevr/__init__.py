"""Scenes by CLEVR's rules, path-traced: words and numbers first, then meshes, then pixels. Nothing here needs torch."""
