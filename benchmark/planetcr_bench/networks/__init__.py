"""The only bridge to ``planetcr_models``: load, train, validate and apply networks."""
