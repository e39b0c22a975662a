"""Show what a dataset looks like: its places, clouds, land, spectra, and leaks between splits."""
