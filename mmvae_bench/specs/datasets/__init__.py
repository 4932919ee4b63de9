"""Specs of the built-in datasets, one a module; the registry finds them here."""
