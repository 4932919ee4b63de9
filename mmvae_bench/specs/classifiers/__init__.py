"""Specs of the built-in classifiers, one a module; the registry finds them here."""
