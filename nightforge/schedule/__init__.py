"""Schedules of the learning rate: one file each, with the pure `factor(at, seen, cfg) -> share of the peak`."""
