"""Two runs of the same trials: which numbers differ, and whether by more than their intervals. Free of torch."""
