"""The objectives, one per file: the formula as a pure function, then a thin LightningModule."""
