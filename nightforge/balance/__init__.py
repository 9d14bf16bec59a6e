"""Balancers: one file a way to choose which rows stay and which are copied."""
