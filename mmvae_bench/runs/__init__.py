"""A run on disk: folders, their files, locks and statuses. Free of torch, and independent of any driver."""
