"""A real node refuses every invalid frame of the vectors with the code they name, and harms nobody else."""

from typing import Any

import pytest

from posthouse.app.node import Node
from posthouse.protocol.codes import Action, action_of
from tests.spec import vectors
from tests.spec.caller import Caller, calling, entered

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("vector", vectors.of("invalid_frames", "frames", "rule", "name"))
async def test_an_invalid_frame_is_answered_with_its_code(node: Node, vector: dict[str, Any]) -> None:
    """It ends the session or it is answered; a session that goes on still works, and so does everybody else's.

    Each case is named by its rule: P-1.3, P-3.2, P-3.4, P-6.1, P-8.2, P-8.4, P-8.5, P-11.2, P-12.1 are among them.
    """
    message, code = vectors.read(vector), vector["code"]
    before = counted(node, code)
    async with calling(node) as caller, entered(node, "ben") as bystander:
        if vector["phase"] == "live":
            assert (await caller.enter())["t"] == "welcome"
        await caller.say_bytes(message)
        if code < 4500 and b'"renew"' not in message:  # P-4.5
            await expect_end(caller, code)
        else:
            refusal = await caller.hear()
            assert (refusal["t"], refusal["code"]) == ("error", code)
            assert await caller.is_alive()
        assert await bystander.is_alive()
    assert counted(node, code) == before + 1, "refusals are counted"


def counted(node: Node, code: int) -> int:
    """How often the node gave a code; the WebSocket's own is counted by the listener."""
    if code == vectors.NOT_UTF8:
        assert node._listener is not None
        return node._listener.statistics()["invalid_data"]
    return node.gateway.codes[code]


async def expect_end(caller: Caller, code: int) -> None:
    """P-13.4: a goaway, then a close with the same code; only the WebSocket's own codes come without one."""
    frames = await caller.hear_to_the_end()
    assert caller.close_code == code
    assert [(frame["t"], frame["code"]) for frame in frames] == [("goaway", code)] * (code >= 4000)


async def test_what_ends_a_session_says_what_to_do_next() -> None:
    """None of these codes sends a client into a loop: it stops, gets a new token, or forgets its resume token."""
    codes = {vector["code"] for vector in vectors.load("invalid_frames")["frames"] if vector["code"] < 4500}
    assert {action_of(code) for code in codes} <= {Action.STOP, Action.REAUTHENTICATE, Action.RESET}
