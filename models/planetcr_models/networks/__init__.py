"""The networks, one file per method."""
