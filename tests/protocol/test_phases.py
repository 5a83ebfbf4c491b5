"""The server's side of a connection: every pair of phase and frame is decided, as rule P-5.1 has it."""

from itertools import product
from typing import Any, get_args

import msgspec
import pytest

from posthouse.protocol.frames import ClientFrame, Fetch, Hello, List, Ping, Renew, Send, SetCursors
from posthouse.protocol.phases import Phase, Step, step

EXAMPLES: dict[type[Any], ClientFrame] = {
    Hello: Hello(token="a.b.c", device="phone"),
    Renew: Renew(ref=1, token="a.b.c"),
    Send: Send(conv="c", client_id="k", made_at=1, body=msgspec.Raw(b"{}")),
    Fetch: Fetch(ref=1, conv="c"),
    List: List(ref=1),
    SetCursors: SetCursors(ref=1, cursors=()),
    Ping: Ping(),
}
ALLOWED: dict[tuple[Phase, type[Any]], tuple[Step, Phase]] = {
    (Phase.NEW, Hello): (Step.ENTER, Phase.ENTERING),
    (Phase.ENTERING, Ping): (Step.PONG, Phase.ENTERING),
    (Phase.LIVE, Ping): (Step.PONG, Phase.LIVE),
    (Phase.LIVE, Renew): (Step.RENEW, Phase.LIVE),
    (Phase.LIVE, Send): (Step.SEND, Phase.LIVE),
    (Phase.LIVE, Fetch): (Step.FETCH, Phase.LIVE),
    (Phase.LIVE, List): (Step.LIST, Phase.LIVE),
    (Phase.LIVE, SetCursors): (Step.CURSORS, Phase.LIVE),
}


def test_there_is_an_example_of_every_frame() -> None:
    assert set(EXAMPLES) == set(get_args(ClientFrame))


@pytest.mark.parametrize(
    ("phase", "frame"),
    list(product(Phase, EXAMPLES)),
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_frame_is_allowed_in_its_phase_and_in_no_other(phase: Phase, frame: type[Any]) -> None:
    expected = (Step.IGNORE, Phase.ENDED) if phase is Phase.ENDED else ALLOWED.get((phase, frame))
    assert step(phase, EXAMPLES[frame]) == expected


def test_every_step_and_every_phase_but_the_first_is_reached() -> None:
    """A session that has ended ignores what still comes; nothing but ending leads there."""
    results = [result for pair in product(Phase, EXAMPLES.values()) if (result := step(*pair)) is not None]
    assert {what for what, _ in results} == set(Step)
    assert {following for _, following in results} == set(Phase) - {Phase.NEW}
