"""Turn satellite scenes into datasets of patches (paper, Sec. 3.1)."""
