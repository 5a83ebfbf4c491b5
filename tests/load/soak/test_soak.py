"""People talk, reconnect, come, go and refuse to read; when all have left, the node holds what it held before."""

import pytest

from posthouse.load.soak.soak import soak
from posthouse.load.soak.watch import CONTENTS, FIGURES, Sample, left


@pytest.mark.timeout(400)  # traffic for half a minute, and as long until what is kept a while has gone
async def test_when_everybody_has_left_a_node_holds_what_it_held_before() -> None:
    result = await soak(minutes=0.4, per_s=40, residents=20, cluster=False)
    assert result["breaches"] == []
    assert result["left"] == []
    assert result["verdict"] == "pass"
    assert result["unanswered"] == 0


def test_what_is_left_beyond_the_allowance_is_named() -> None:
    few = dict.fromkeys(FIGURES, 10.0)
    before = {"n1": Sample(0, few, {"a:B": 5})}
    same = {"n1": Sample(9, few, {"a:B": 5 + CONTENTS.left})}
    more = {"n1": Sample(9, few | {"threads": 12.0}, {"a:B": 6 + CONTENTS.left, "c:D": 4})}
    assert left(before, same) == []
    assert [(each.what, each.growth) for each in left(before, more)] == [("threads", 2), ("a:B", 51)]
