"""Optimizers: one file each, with `build(groups, cfg) -> list of torch optimizers` (nightforge/parameters.py)."""
