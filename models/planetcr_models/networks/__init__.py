"""Define the networks, one file per method."""
