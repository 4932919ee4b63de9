"""The distributions that networks return: over latents, over pixels, over texts."""
