"""From a source and a counter to pixels: deterministic for each image, whatever the batch it is made in."""
