"""Initial weights: one file a scheme, with `fill(model, cfg)`, drawn from torch's generator as the caller seeded it."""
