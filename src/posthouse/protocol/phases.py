"""The server's side of one connection as a table: which frame is allowed when. Pure.

A missing pair is an error of the client: `frame_out_of_order`.
"""

from enum import Enum

from posthouse.protocol.frames import ClientFrame, Fetch, Hello, List, Ping, Renew, Send, SetCursors


class Phase(Enum):
    """Where a connection stands."""

    NEW = "new"
    ENTERING = "entering"
    LIVE = "live"
    ENDED = "ended"


class Step(Enum):
    """What the server does with an allowed frame."""

    ENTER = "enter"
    PONG = "pong"
    SEND = "send"
    FETCH = "fetch"
    LIST = "list"
    CURSORS = "cursors"
    RENEW = "renew"
    IGNORE = "ignore"


_TABLE: dict[tuple[Phase, type], tuple[Step, Phase]] = {
    (Phase.NEW, Hello): (Step.ENTER, Phase.ENTERING),
    (Phase.ENTERING, Ping): (Step.PONG, Phase.ENTERING),
    (Phase.LIVE, Ping): (Step.PONG, Phase.LIVE),
    (Phase.LIVE, Send): (Step.SEND, Phase.LIVE),
    (Phase.LIVE, Fetch): (Step.FETCH, Phase.LIVE),
    (Phase.LIVE, List): (Step.LIST, Phase.LIVE),
    (Phase.LIVE, SetCursors): (Step.CURSORS, Phase.LIVE),
    (Phase.LIVE, Renew): (Step.RENEW, Phase.LIVE),
}


def step(phase: Phase, frame: ClientFrame) -> tuple[Step, Phase] | None:
    """What to do with `frame` and the phase that follows, or None when it is not allowed now."""
    if phase is Phase.ENDED:
        return Step.IGNORE, Phase.ENDED
    return _TABLE.get((phase, type(frame)))
