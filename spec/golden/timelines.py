"""How a client keeps its logs whole: what arrives and when, what it then applies, and which range it asks for.

A step is (milliseconds since the first step, what happens, entries applied because of it, ranges asked for because
of it). An entry is (log, seq); a range is (log, after, through), the last being the end of what is known to lack.
"""

from typing import Any

from spec.golden.notation import Vector

Step = tuple[int, dict[str, Any], list[tuple[str, int]], list[tuple[str, int, int]]]
Scenario = tuple[str, str, dict[str, int], list[Step]]

NOTHING: dict[str, Any] = {}


def _entry(seq: int, log: str = "c") -> dict[str, Any]:
    return {"entry": seq, "log": log}


def _ack(seq: int) -> dict[str, Any]:
    return {"ack": seq, "log": "c"}


def _head(seq: int) -> dict[str, Any]:
    return {"head": seq, "log": "c"}


def _page(*seqs: int, complete: bool = True) -> dict[str, Any]:
    return {"entries": list(seqs), "complete": complete, "log": "c"}


def _c(*seqs: int) -> list[tuple[str, int]]:
    return [("c", seq) for seq in seqs]


def _lacks(after: int, through: int) -> list[tuple[str, int, int]]:
    return [("c", after, through)]


IN_ORDER: list[Scenario] = [
    ("P-9.2", "what comes next is applied", {"c": 41}, [(0, _entry(42), _c(42), []), (9, _entry(43), _c(43), [])]),
    (
        "P-9.2", "what is old is dropped", {"c": 41},
        [(0, _entry(41), [], []), (1, _entry(7), [], []), (2, _entry(42), _c(42), []), (3, _entry(42), [], [])],
    ),
    (
        "P-9.3", "the ack of an own send counts as its entry", {"c": 41},
        [(0, _ack(42), _c(42), []), (1, _entry(42), [], []), (2, _ack(42), [], []), (3, _entry(43), _c(43), [])],
    ),
    (
        "P-9.4", "an ack that overtakes the entries before it waits for them", {"c": 41},
        [(0, _ack(44), [], []), (5, _entry(42), _c(42), []), (6, _entry(43), _c(43, 44), []), (300, NOTHING, [], [])],
    ),
    (
        "P-9.4", "entries that overtake each other are put in order", {"c": 41},
        [(0, _entry(44), [], []), (50, _entry(43), [], []), (150, _entry(42), _c(42, 43, 44), []),
         (400, NOTHING, [], [])],
    ),
]  # fmt: skip

GAPS: list[Scenario] = [
    (
        "P-9.5", "a gap that does not close within 200 ms is fetched, and no more than the gap", {"c": 41},
        [(0, _entry(44), [], []), (100, _entry(45), [], []), (199, NOTHING, [], []),
         (200, NOTHING, [], _lacks(41, 43)), (230, _page(42, 43, complete=False), _c(42, 43, 44, 45), []),
         (900, NOTHING, [], [])],
    ),
    (
        "P-9.5", "a gap before an ack is fetched; the own entry is applied once", {"c": 41},
        [(0, _ack(43), [], []), (200, NOTHING, [], _lacks(41, 42)), (230, _page(42, 43), _c(42, 43), []),
         (900, NOTHING, [], [])],
    ),
    (
        "P-9.5", "a gap that closes while it is being fetched", {"c": 41},
        [(0, _entry(43), [], []), (200, NOTHING, [], _lacks(41, 42)), (210, _entry(42), _c(42, 43), []),
         (230, _page(42), [], []), (240, _entry(44), _c(44), []), (900, NOTHING, [], [])],
    ),
    (
        "P-9.6", "what a hint says is there is fetched at once", {"c": 41},
        [(0, _head(44), [], _lacks(41, 44)), (20, _page(42, 43, 44), _c(42, 43, 44), []), (900, NOTHING, [], [])],
    ),
    ("P-9.6", "a hint of what is known is nothing", {"c": 41}, [(0, _head(41), [], []), (300, _head(3), [], [])]),
    (
        "P-9.6", "a hint closes a gap that had not yet waited long enough", {"c": 41},
        [(0, _entry(43), [], []), (50, _head(43), [], _lacks(41, 42)), (70, _page(42, 43), _c(42, 43), []),
         (900, NOTHING, [], [])],
    ),
    (
        "P-9.7", "a page that is not complete is followed by the next", {"c": 41},
        [(0, _head(46), [], _lacks(41, 46)), (20, _page(42, 43, complete=False), _c(42, 43), _lacks(43, 46)),
         (40, _page(44, complete=False), _c(44), _lacks(44, 46)), (60, _page(45, 46), _c(45, 46), []),
         (900, NOTHING, [], [])],
    ),
    (
        "P-9.7", "numbers that a page leaves out are not the user's to see", {"c": 41},
        [(0, _head(50), [], _lacks(41, 50)), (20, _page(42, 48, 49, 50), _c(42, 48, 49, 50), []),
         (30, _entry(51), _c(51), [])],
    ),
    (
        "P-9.7", "an empty page: nothing there is the user's to see", {"c": 41},
        [(0, _head(50), [], _lacks(41, 50)), (20, _page(), [], []), (900, NOTHING, [], [])],
    ),
    (
        "P-9.8", "what arrives during a fetch is applied after it", {"c": 41},
        [(0, _head(43), [], _lacks(41, 43)), (10, _entry(44), [], []), (20, _page(42, 43), _c(42, 43, 44), []),
         (900, NOTHING, [], [])],
    ),
    (
        "P-9.8", "what still lacks after a fetch is a gap like any other", {"c": 41},
        [(0, _head(43), [], _lacks(41, 43)), (10, _entry(45), [], []), (20, _page(42, 43), _c(42, 43), []),
         (219, NOTHING, [], []), (220, NOTHING, [], _lacks(43, 44)), (240, _page(44, 45), _c(44, 45), []),
         (900, NOTHING, [], [])],
    ),
]  # fmt: skip

TROUBLE: list[Scenario] = [
    (
        "P-9.10", "logs do not wait for each other", {"c": 41, "d": 7},
        [(0, _entry(43), [], []), (1, _entry(8, "d"), [("d", 8)], []), (2, _entry(9, "d"), [("d", 9)], []),
         (3, _entry(42), _c(42, 43), [])],
    ),
    (
        "P-9.11", "entries of a log that has not begun wait until its beginning is known", {},
        [(0, _entry(6), [], []), (300, NOTHING, [], []), (310, {"begin": 4, "log": "c"}, [], _lacks(4, 6)),
         (320, _page(5, 6), _c(5, 6), []), (330, _entry(7), _c(7), [])],
    ),
    (
        "P-10.4", "a lost connection ends its fetches; the next session says what has changed", {"c": 41},
        [(0, _head(43), [], _lacks(41, 43)), (10, {"lost": True}, [], []), (900, NOTHING, [], []),
         (1_000, _head(44), [], _lacks(41, 44)), (1_020, _page(42, 43, 44), _c(42, 43, 44), [])],
    ),
]  # fmt: skip


def _step(step: Step) -> Vector:
    at_ms, happens, applied, asked = step
    return {
        "at_ms": at_ms,
        "happens": happens,
        "applies": [{"log": log, "seq": seq} for log, seq in applied],
        "asks": [{"log": log, "after": after, "through": through} for log, after, through in asked],
    }


def document() -> Vector:
    """The file timelines.json."""
    return {
        "about": "How a client keeps logs whole. `positions`: what is applied at the start. A step happens `at_ms`: an"
        " `entry` or `ack` arrives, a `head` is heard of (in `heads` or in `changed` of `welcome`), a fetch is answered"
        " by `entries`, the connection is `lost`, the log's `begin`ning is known, or time just passes. The"
        " client then applies exactly `applies`, in order, and asks for exactly `asks`: entries `after` a number, at"
        " least `through` another as far as one page goes.",
        "scenarios": [
            {"rule": rule, "name": name, "positions": positions, "steps": [_step(step) for step in steps]}
            for rule, name, positions, steps in [*IN_ORDER, *GAPS, *TROUBLE]
        ],
    }
