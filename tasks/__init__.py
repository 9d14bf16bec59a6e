"""The stages: one thin file each, which reads, calls the library, and writes."""
