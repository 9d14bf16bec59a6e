"""Ways to put facts into words: one file a way. `say(graph, phrasings, cfg, rng) -> Iterator[Said]`."""
