"""The bodies of entries that the server itself reads: membership in conversations and in account logs. Pure."""

import msgspec

from posthouse.model.entry import Entry


class AccountBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of an account log's `conversation.joined` and `conversation.left`."""

    conv: str
    joined_seq: int = 0
    left_seq: int = 0


class _MembershipBody(msgspec.Struct, frozen=True):
    users: tuple[str, ...] = ()


_decode_membership = msgspec.json.Decoder(_MembershipBody).decode
_decode_account = msgspec.json.Decoder(AccountBody).decode


def users_of(entry: Entry) -> tuple[str, ...]:
    """The users whom a membership entry (created, joined, left) concerns."""
    return _decode_membership(entry.body).users


def account_body(entry: Entry) -> AccountBody:
    """What an account-log entry says about a conversation."""
    return _decode_account(entry.body)
