"""Cursors: how far a user has read or received a conversation. They only move forward. Pure."""

import msgspec


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """One user's positions in one conversation; 0 means "none said"."""

    conv: str
    read: int = 0
    delivered: int = 0


def merge(old: Cursor, new: Cursor) -> Cursor:
    """The later of both positions: cursors never go back. What is read has been delivered."""
    read = max(old.read, new.read)
    return Cursor(old.conv, read, max(old.delivered, new.delivered, read))
