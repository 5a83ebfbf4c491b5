"""The SDK keeps its logs whole exactly as spec/vectors/timelines.json says (P-9, G4)."""

from typing import Any

import msgspec
import pytest

from posthouse.client.timeline import FETCHES_MAX, Fetching, Timelines
from posthouse.model.entry import Entry
from posthouse.protocol.frames import FETCH_LIMIT_MAX
from tests.spec import vectors


class Player:
    """Plays one scenario on the SDK's timelines, noting what they apply and ask for."""

    def __init__(self, positions: dict[str, int]) -> None:
        self.applied: list[dict[str, Any]] = []
        self.timelines = Timelines(self._apply)
        for log, seq in positions.items():
            self.timelines.start(log, seq)

    def _apply(self, entry: Entry) -> bool:
        self.applied.append({"log": entry.conv, "seq": entry.seq})
        return True

    def play(self, happens: dict[str, Any], now: float) -> list[Fetching]:
        self.applied.clear()
        if happens:
            self._play(happens, happens.get("log", ""), now)
        return self.timelines.fetches(now)

    def _play(self, happens: dict[str, Any], log: str, now: float) -> None:
        match happens:
            case {"entry": seq} | {"ack": seq}:
                entry = _entry(log, seq)
                if not self.timelines.apply(entry):
                    self.timelines.hold(entry, now)
            case {"head": head}:
                self.timelines.note_head(log, head)
            case {"entries": seqs, "complete": complete}:
                self.timelines.page(log, [_entry(log, seq) for seq in seqs], complete, now)
            case {"begin": applied}:
                self.timelines.start(log, applied)
            case {"lost": True}:
                self.timelines.lose_connection()
            case unknown:
                pytest.fail(f"the vectors have learnt something new: {unknown}")


def _entry(log: str, seq: int) -> Entry:
    return Entry(conv=log, seq=seq, kind="message", at_ms=seq, ordinal=seq, body=msgspec.Raw(b"{}"))


@pytest.mark.parametrize("scenario", vectors.of("timelines", "scenarios", "rule", "name"))
def test_logs_are_kept_whole(scenario: dict[str, Any]) -> None:
    """P-9.2, P-9.3, P-9.4, P-9.5, P-9.6, P-9.7, P-9.8, P-9.10, P-9.11: each scenario is named by its rule."""
    player = Player(scenario["positions"])
    for step in scenario["steps"]:
        asked = player.play(step["happens"], step["at_ms"] / 1000)
        assert player.applied == step["applies"], step
        assert [(each.log, each.after) for each in asked] == [
            (each["log"], each["after"]) for each in step["asks"]
        ], step
        for each, lacking in zip(asked, step["asks"], strict=True):
            assert each.limit >= min(lacking["through"] - lacking["after"], FETCH_LIMIT_MAX), step


def test_the_scenarios_fit_into_what_a_client_fetches_at_once() -> None:
    """Otherwise a scenario would wait for its turn, which the vectors do not speak of."""
    for parameter in vectors.of("timelines", "scenarios", "name"):
        assert len(parameter.values[0]["positions"]) <= FETCHES_MAX
