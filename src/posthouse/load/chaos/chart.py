"""Timelines as SVG: throughput above, latency below, and numbered lines where something was done. Pure.

The numbers stand for the marks in their order, which `numbered` gives to whoever writes the list beside the chart.
"""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from math import ceil, log10

from posthouse.load.chaos.recording import Mark, Moment, Recording

WIDTH, LEFT, RIGHT = 940, 58, 14
BADGES = (14, 36)
BADGE_PX = 9
UPPER = (78, 198)
LOWER = (242, 344)
HEIGHT = 370
SHARE_MAX = 1.5
TICKS_MAX = 14
TICKS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 3600)

Scale = Callable[[float], float]
Point = tuple[float, float]


def timeline(recording: Recording) -> str:
    """The chart of one run."""
    moments, marks = recording.timeline, numbered(recording.marks)
    across = _linear(moments[0].at_s, max(moments[-1].at_s, moments[0].at_s + 1), LEFT, WIDTH - RIGHT)
    drawn = [
        *_troubled(marks, across),
        *_marks(marks, across),
        *_throughput(moments, _quiet(moments, marks), across),
    ]
    drawn += [*_latency(moments, across), *_seconds(moments, across)]
    title = f"Throughput and latency during {recording.scenario}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(drawn)}</svg>'
    )


def numbered(marks: Sequence[Mark]) -> list[Mark]:
    """The marks in the order of their numbers, which begin with 1."""
    return sorted(marks, key=lambda mark: mark.at_s)


def _troubled(marks: Sequence[Mark], across: Scale) -> Iterator[str]:
    """The times from a fault until something is repaired, as a tinted ground."""
    begun: float | None = None
    for mark in marks:
        if mark.kind == "fault" and begun is None:
            begun = mark.at_s
        elif mark.kind == "repair" and begun is not None:
            x, width = across(begun), across(mark.at_s) - across(begun)
            top, bottom = UPPER[0], LOWER[1]
            yield f'<rect class="trouble" x="{x:.1f}" y="{top}" width="{width:.1f}" height="{bottom - top}"/>'
            begun = None


def _quiet(moments: Sequence[Moment], marks: Sequence[Mark]) -> Sequence[Moment]:
    """The time before the first mark, where there is enough of it to say what is usual; else all of it."""
    begun = marks[0].at_s if marks else moments[-1].at_s
    return [moment for moment in moments if 1 <= moment.at_s < begun - 1] or moments


def _throughput(moments: Sequence[Moment], quiet: Sequence[Moment], across: Scale) -> list[str]:
    """Deliveries are many times the sends, so each is drawn as a share of its own median in quiet times."""
    drawn = [_title("Messages each second, compared with the usual", UPPER)]
    up = _linear(0.0, SHARE_MAX, UPPER[1], UPPER[0])
    for share in (0.0, 0.5, 1.0, 1.5):
        drawn += _grid(up(share), f"{share:.0%}")
    for name, words, style, x in (("delivered", "received", "one", 480), ("acked", "accepted", "two", 710)):
        counts = [getattr(moment, name) for moment in moments]
        usual = sorted(getattr(moment, name) for moment in quiet)[len(quiet) // 2] or 1
        points = [
            (across(moment.at_s), up(min(count / usual, SHARE_MAX)))
            for moment, count in zip(moments, counts, strict=True)
        ]
        if style == "one":
            drawn.append(_area(points, UPPER[1], style))
        drawn += [_line(points, style), _legend(x, UPPER, f"{words}, usually {usual:,} a second", style)]
    return drawn


def _latency(moments: Sequence[Moment], across: Scale) -> list[str]:
    drawn = [_title("Time from sending to receiving, in milliseconds", LOWER)]
    top = max(2, ceil(log10(max((moment.p99_ms for moment in moments), default=1.0) + 1)))
    up = _linear(0.0, float(top), LOWER[1], LOWER[0])
    for power in range(top + 1):
        drawn += _grid(up(float(power)), f"{10**power:,}")
    for name, words, style, x in (
        ("p50_ms", "half of them", "one", 480),
        ("p99_ms", "99 % of them took no longer", "three", 710),
    ):
        points = [
            (across(moment.at_s), up(log10(max(getattr(moment, name), 1.0))))
            for moment in moments
            if moment.p50_ms
        ]
        drawn += [_line(points, style), _legend(x, LOWER, words, style)]
    return drawn


def _seconds(moments: Sequence[Moment], across: Scale) -> list[str]:
    last = moments[-1].at_s
    step = next(each for each in TICKS_S if last / each <= TICKS_MAX or each == TICKS_S[-1])
    return [
        f'<text class="label" x="{across(at):.1f}" y="{LOWER[1] + 18}" text-anchor="middle">{at} s</text>'
        for at in range(0, int(last) + 1, step)
        if at >= moments[0].at_s
    ]


def _marks(marks: Sequence[Mark], across: Scale) -> Iterator[str]:
    """Badges that would cover each other stand in two rows."""
    taken = [-1.0 * WIDTH] * len(BADGES)
    for number, mark in enumerate(marks, 1):
        x = across(mark.at_s)
        row = next(
            (row for row, last in enumerate(taken) if x - last > 2 * BADGE_PX + 2), taken.index(min(taken))
        )
        taken[row] = x
        y = BADGES[row]
        yield f'<line class="{mark.kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{y + BADGE_PX}" y2="{LOWER[1]}"/>'
        told = f"<title>{escape(mark.what)}</title>"
        yield f'<circle class="{mark.kind}" cx="{x:.1f}" cy="{y}" r="{BADGE_PX}">{told}</circle>'
        yield f'<text class="badge" x="{x:.1f}" y="{y + 4}" text-anchor="middle">{number}</text>'


def _title(text: str, area: tuple[int, int]) -> str:
    return f'<text class="title" x="{LEFT}" y="{area[0] - 14}">{text}</text>'


def _grid(y: float, label: str) -> list[str]:
    return [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
        f'<text class="label" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>',
    ]


def _legend(x: int, area: tuple[int, int], text: str, style: str) -> str:
    y = area[0] - 14
    return (
        f'<line class="{style} key" x1="{x - 22}" x2="{x - 6}" y1="{y - 4}" y2="{y - 4}"/>'
        f'<text class="label" x="{x}" y="{y}">{text}</text>'
    )


def _line(points: Sequence[Point], style: str) -> str:
    return f'<path class="{style}" d="{_path(points)}"/>'


def _area(points: Sequence[Point], ground: float, style: str) -> str:
    closed = f"{_path(points)} L{points[-1][0]:.1f} {ground} L{points[0][0]:.1f} {ground} Z"
    return f'<path class="{style} area" d="{closed}"/>'


def _path(points: Sequence[Point]) -> str:
    return " ".join(f"{'L' if number else 'M'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(points))


def _linear(low: float, high: float, start: float, end: float) -> Scale:
    return lambda value: start + (value - low) / (high - low) * (end - start)
