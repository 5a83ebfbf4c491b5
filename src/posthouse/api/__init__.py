"""The REST API under /v1, from typed handlers: what back ends manage, and what clients ask outside their connection."""
