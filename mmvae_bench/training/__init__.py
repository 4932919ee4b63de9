"""Fitting an objective: stage by stage, resumable to the bit, stopped early where a loss is not finite."""
