"""What the benchmarks must reach, and whether a result does. Pure.

A limit is one of a benchmark as it is by default: of other sizes nothing is required.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

CHECKS = ("lost", "duplicated", "reordered", "contradicted", "unanswered")
"""Keys of a result that must be zero."""
CLUSTER = "--cluster"


class Limit(NamedTuple):
    """Of one figure. `at` None: what the result itself says under the figure's name with `_max`."""

    figure: str
    how: str
    at: float | None

    def of(self, result: Mapping[str, Any]) -> float:
        """The number."""
        return result[f"{self.figure}_max"] if self.at is None else self.at

    def reached(self, result: Mapping[str, Any]) -> bool:
        """What could not be measured has not reached it."""
        value, limit = result[self.figure], self.of(result)
        if value is None:
            return False
        match self.how:
            case "at least":
                return bool(value >= limit)
            case "below":
                return bool(value < limit)
            case _:
                return bool(value <= limit)


def _most(figure: str, at: float | None = None) -> Limit:
    return Limit(figure, "at most", at)


_HALF_OF_RAW = Limit("ratio_to_raw", "at least", 0.5)

LIMITS: Mapping[str, Sequence[Limit]] = {
    "fanout": (_most("ratio_to_raw", 1.3),),
    "send": (_HALF_OF_RAW, _most("deliver_p99_ms")),
    "send --database postgresql": (_HALF_OF_RAW, _most("deliver_p99_ms")),
    "idle": (_most("pss_kib_per_session", 12),),
    "storm": (
        _most("seconds_until_last_resumed", 10),
        _most("started_afresh", 0),
        _most("attempts_per_client", 2),
        Limit("queries_per_resume", "below", 0.1),
    ),
    "startup": (_most("ready_s", 1),),
    "listing": (_most("list_ms", 100),),
    f"fanout {CLUSTER}": (_most("ratio_to_one_node", 1.5),),
    f"send {CLUSTER}": (_HALF_OF_RAW,),
}
"""By the words that run the benchmark."""


def title(name: str, database: str, sizes: Sequence[str], *, cluster: bool) -> str:
    """The words that run a benchmark like this one, without what an address may hold."""
    engine = database.partition("://")[0]
    variant = [CLUSTER] if cluster else [] if engine == "sqlite" else ["--database", engine]
    return " ".join([name, *variant, *(word for size in sorted(sizes) for word in ("--set", size))])


def judged(name: str, result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every limit that a result of the benchmark of this title has, with the figure and whether it was reached."""
    return [
        {
            "figure": limit.figure,
            "value": result[limit.figure],
            "how": limit.how,
            "limit": limit.of(result),
            "reached": limit.reached(result),
        }
        for limit in LIMITS.get(name, ())
    ]


def row(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """What is recorded of one run. `broken`: the checks that failed, and how often."""
    broken = {check: result[check] for check in CHECKS if result.get(check)}
    return {"benchmark": name, "figures": dict(result), "limits": judged(name, result), "broken": broken}
