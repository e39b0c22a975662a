"""Remove the clouds of a user's own scenes, and cut pairs of them into patches."""
