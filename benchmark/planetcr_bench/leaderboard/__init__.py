"""Results in, one static page out: the board that anyone can open from disk."""
