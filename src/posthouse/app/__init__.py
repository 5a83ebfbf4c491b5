"""The composition root: configuration, secrets, wiring. Nothing below knows it."""
