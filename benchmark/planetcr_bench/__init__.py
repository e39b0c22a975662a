"""planetcr-bench: how well does a method remove clouds from high-resolution satellite images?"""

__version__ = "0.1.0"
