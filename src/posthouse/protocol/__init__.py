"""The wire protocol `posthouse.v1.json`: frames, codec, codes. Sans-I/O: bytes in, values out. Pure."""

SUBPROTOCOL = "posthouse.v1.json"
BINARY_SUBPROTOCOL = "posthouse.v1.msgpack"
"""Reserved: no server speaks it yet."""
