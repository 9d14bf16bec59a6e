"""Sources: one file a format or scheme, each turning bytes into rows."""
