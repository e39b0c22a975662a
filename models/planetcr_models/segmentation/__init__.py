"""Define the land-cover segmenter (paper, Sec. 5.3), DeepLabv3+, and its loss."""
