"""Readers of facts: one file a format. `read(file, cfg) -> Iterator[Triple | Reject]`."""
