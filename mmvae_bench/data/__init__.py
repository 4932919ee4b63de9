"""Datasets of images with concepts: one LightningDataModule per file, and what they share."""
