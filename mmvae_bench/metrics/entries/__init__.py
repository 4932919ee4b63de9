"""The entries of the catalogue of metrics, one page per kind of question."""
