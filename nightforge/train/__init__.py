"""Model families: one file a family, each with `build`, `loss` and `sample`."""
