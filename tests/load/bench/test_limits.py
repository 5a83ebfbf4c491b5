"""What benchmarks must reach is judged by their figures, and only of their default sizes."""

from pathlib import Path
from typing import Any

import pytest

from posthouse.load.bench.limits import LIMITS, judged, row, title


@pytest.mark.parametrize(
    ("name", "figures", "reached"),
    [
        ("fanout", {"ratio_to_raw": 1.3}, [True]),
        ("fanout", {"ratio_to_raw": 1.31}, [False]),
        ("fanout --cluster", {"ratio_to_one_node": 1.5}, [True]),
        ("fanout --cluster", {"ratio_to_one_node": 1.51}, [False]),
        ("send --cluster", {"ratio_to_raw": 0.5}, [True]),
        ("send --cluster", {"ratio_to_raw": 0.49}, [False]),
        ("send", {"ratio_to_raw": 0.6, "deliver_p99_ms": 31.0, "deliver_p99_ms_max": 30.0}, [True, False]),
        (
            "storm",
            {
                "seconds_until_last_resumed": 9.0,
                "started_afresh": 0,
                "attempts_per_client": 2.5,
                "queries_per_resume": 0.1,
            },
            [True, True, False, False],
        ),
    ],
)
def test_a_limit_is_reached_or_not(name: str, figures: dict[str, Any], reached: list[bool]) -> None:
    assert [each["reached"] for each in judged(name, figures)] == reached


def test_the_limit_stands_beside_the_figure() -> None:
    (_, delivered) = judged("send", {"ratio_to_raw": 0.6, "deliver_p99_ms": 31.0, "deliver_p99_ms_max": 30.0})
    assert delivered == {
        "figure": "deliver_p99_ms", "value": 31.0, "how": "at most", "limit": 30.0, "reached": False,
    }  # fmt: skip


def test_what_could_not_be_measured_has_not_been_reached() -> None:
    figures = {"seconds_until_last_resumed": 1, "started_afresh": 9, "attempts_per_client": 1}
    last = judged("storm", figures | {"queries_per_resume": None})[-1]
    assert not last["reached"]


def test_the_title_is_what_runs_it_without_the_secrets_of_an_address() -> None:
    assert title("send", "sqlite", (), cluster=False) == "send"
    assert title("send", "postgresql", (), cluster=False) == "send --database postgresql"
    assert title("send", "postgresql://me:secret@db/x", (), cluster=False) == "send --database postgresql"
    assert title("send", "sqlite", (), cluster=True) == "send --cluster"
    assert title("fanout", "sqlite", ("members=9",), cluster=False) == "fanout --set members=9"
    assert "fanout --set members=9" not in LIMITS


def test_other_sizes_have_no_limit_and_what_was_lost_is_kept() -> None:
    assert row("fanout --set members=9", {"ratio_to_raw": 9.0, "lost": 0, "reordered": 2}) == {
        "benchmark": "fanout --set members=9",
        "figures": {"ratio_to_raw": 9.0, "lost": 0, "reordered": 2},
        "limits": [],
        "broken": {"reordered": 2},
    }


def test_every_limit_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs/benchmarks.md").read_text("utf-8")
    table = text.partition("What must be reached")[2].partition("A limit that")[0]
    for name, limits in LIMITS.items():
        (line,) = (line for line in table.splitlines() if f"`{name}`" in line)
        for limit in limits:
            assert f"`{limit.figure}`" in line
            assert (f"{limit.at:g}" if limit.at is not None else f"`{limit.figure}_max`") in line
