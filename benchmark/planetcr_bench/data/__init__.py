"""Find, read, check, fingerprint and split datasets."""
