"""Torch-free specs: what can be asked, with every default and its meaning, and the errors that teach it."""
