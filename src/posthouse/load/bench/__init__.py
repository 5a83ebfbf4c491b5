"""Benchmarks: one module each, run against a server in its own process, beside a raw limit measured in the same run."""
