"""What is drawn: the recipe of every image, from its number to its pixels. Renderers are imported only when needed."""
