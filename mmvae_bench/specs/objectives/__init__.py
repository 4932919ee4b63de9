"""Specs of the built-in objectives, one a module; the registry finds them here."""
