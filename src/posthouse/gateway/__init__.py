"""The part of a node that holds client connections: one port for WebSocket and HTTP, sessions, admission, drain."""
