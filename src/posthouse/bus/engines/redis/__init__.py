"""The bus of a cluster of many: sharded pub/sub of Redis or Valkey, alone, with Sentinel or as a Cluster."""
