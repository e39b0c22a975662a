"""Folders of predictions: their format, baselines without training, and `predict`."""
