"""A whole cluster with its clients in one process: virtual time, and a network, cache, bus and database that fail.

The product's own code runs unchanged on its ports; only what stands behind the ports is simulated. Everything that
happens by chance is drawn from one seed, so a seed that fails can be run again exactly.
"""
