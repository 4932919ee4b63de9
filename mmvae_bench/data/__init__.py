"""Datasets of images with concepts: one LightningDataModule a file, and what they share."""
