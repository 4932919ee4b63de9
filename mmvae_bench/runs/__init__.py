"""What lies on disk of a run: folders, their files, locks and statuses. Free of torch, and knows no driver."""
