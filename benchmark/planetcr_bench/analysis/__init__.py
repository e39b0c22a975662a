"""Statistics over ledgers: significance, segmentation scores, error analysis."""
