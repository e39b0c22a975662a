"""Scenes side by side as images (Fig. 4 of the paper)."""
