"""Real servers for the tests of this room."""

from tests.valkey.shared import sites

__all__ = ["sites"]
