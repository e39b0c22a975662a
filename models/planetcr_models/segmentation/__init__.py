"""The land-cover segmenter of Sec. V: DeepLabv3+ and its loss."""
