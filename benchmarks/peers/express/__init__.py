"""Express: its own language, the same work."""
