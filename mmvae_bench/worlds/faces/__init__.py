"""Faces drawn with skia from 18 attributes and continuous nuisance factors: a stand-in for CelebA's photographs.

Each attribute has its own cue that no other one hides, and two cues where rows of the real statistics combine
attributes that compete for a place: a hat leaves the hair at the temples and below the ears, a bald head keeps
a fringe that has the hair's colour and texture, and the eyebrows always have the hair's colour. What no attribute
is about (background, light, pose, shape, clothes) is a nuisance factor and varies continuously.

Units: the canvas is 64 wide and 64 high whatever the size of the picture; y grows downwards. A head is drawn around the
origin, before it is turned and moved to its place.
"""
