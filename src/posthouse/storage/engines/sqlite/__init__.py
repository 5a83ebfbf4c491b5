"""The embedded engine: one SQLite file in WAL mode, one writer thread, a few readers that never wait for it."""
