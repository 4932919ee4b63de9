"""Specs of the built-in backbones, one a module; the registry finds them here."""
