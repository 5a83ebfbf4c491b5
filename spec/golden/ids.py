"""Ids: which are valid, and those that follow from others."""

from collections.abc import Callable

from posthouse.model.errors import InvalidId
from posthouse.model.ids import ID_BYTES_MAX, account_id, check_conversation_id, check_id, direct_id, shard_of
from spec.golden.notation import Vector

SHARDS = 64
USERS = [
    "ann",
    "ben",
    "Ann",
    "|trey|",
    "[foo]^",
    "王小明",
    "é",
    "e\u0301",
    "😀",
    "a b",
    "=x",
    "~x",
    "1:2",
    "u" * 128,
]
LOGS = ["lounge", direct_id("ann", "ben"), account_id("ann"), "王小明", "😀"]
APPS = ["default", "acme", "é"]

CANDIDATES = [
    *USERS,
    "",
    " ann",
    "ann ",
    "\u00a0ann",
    "ann\u2003",
    "an\u0000n",
    "an\tn",
    "an\u007fn",
    "an\u0085n",
    "an\u200bn",
    "\u202eann",
    "é" * 64,
    "é" * 64 + "x",
    "u" * (ID_BYTES_MAX + 1),
]


def _passes(check: Callable[[str, str], object], id_: str) -> bool:
    try:
        check(id_, "user")
    except InvalidId:
        return False
    return True


def document() -> Vector:
    """The file ids.json."""
    pairs = [(low, high) for at, low in enumerate(USERS) for high in USERS[at + 1 :: 5]]
    return {
        "about": "Ids are strings of Unicode scalar values (P-7.2). `shards` are for 64 shards. Lone surrogates, which"
        " JSON cannot carry, are invalid everywhere.",
        "ids": [
            {
                "id": id_,
                "valid": _passes(check_id, id_),
                "valid_for_a_new_group": _passes(lambda new, _: check_conversation_id(new), id_),
            }
            for id_ in CANDIDATES
        ],
        "direct": [
            {"users": [first, second], "conv": direct_id(first, second)}
            for low, high in pairs
            for first, second in ((low, high), (high, low))
        ],
        "account": [{"user": user, "log": account_id(user)} for user in USERS[:6]],
        "shards": [
            {"app": app, "log": log, "shard": shard_of(app, log, SHARDS)} for app in APPS for log in LOGS
        ],
    }
