"""The specs of the built-in objectives, one family per file."""
