"""What is watched of a run: one file a watcher, with `start(model, cfg) -> Watcher` (nightforge/watching.py)."""
