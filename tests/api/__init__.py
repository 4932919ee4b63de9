"""Python: runs, results, the user's own data."""
