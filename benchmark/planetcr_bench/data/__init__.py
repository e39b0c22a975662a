"""Datasets on disk: files to scenes, checks, fingerprints, splits and training patches."""
