"""Whether a node can do its work, found out by doing it."""
