"""What is drawn: the recipe of every image, from its number to its pixels. What needs a renderer imports it late."""
