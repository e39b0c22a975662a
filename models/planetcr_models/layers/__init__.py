"""Provide building blocks that several networks share."""
