"""The cache of a cluster of many: Redis or Valkey, alone, with Sentinel or as a Cluster."""
