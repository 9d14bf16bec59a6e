"""The orchestra: which stage, when and where."""
