"""Measure predictions: load a scene, compute its sums, segment it, collect the ledger."""
