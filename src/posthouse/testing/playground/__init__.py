"""A whole cluster on one machine, of real servers: PostgreSQL under Patroni, etcd, Valkey, HAProxy, nodes."""
