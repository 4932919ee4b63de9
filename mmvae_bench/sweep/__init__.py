"""From a grid to results: expansion, the store of what is done, executors."""
