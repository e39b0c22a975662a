"""Define and compute metrics: the sums of a scene, and the scores that follow from sums."""
