"""Pack, check and accept submitted predictions."""
