"""Compression passes: one file a pass."""
