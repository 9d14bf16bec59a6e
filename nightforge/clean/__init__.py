"""Cleaning rules: one file a rule."""
