"""Read a user's own scenes, and remove their clouds."""
