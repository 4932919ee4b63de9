"""What a notebook calls: a whole comparison from Python, and lists of what there is."""
