"""Torch-free specs: everything that can be configured, with its defaults, meaning and errors."""
