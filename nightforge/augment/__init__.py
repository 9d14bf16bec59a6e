"""Augmenters: one file a way to vary a record."""
