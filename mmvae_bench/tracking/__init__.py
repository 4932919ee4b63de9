"""Experiment tracking: the names under which metrics are logged, and W&B runs. Imports no torch."""
