"""The objectives, one a file: the formula as a pure function, then a thin LightningModule."""
