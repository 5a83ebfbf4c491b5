"""Timelines as SVG: throughput above, latency below, and lines where something was done. Pure."""

from collections.abc import Callable, Sequence
from html import escape
from math import ceil, log10

from posthouse.load.chaos.recording import Mark, Moment, Recording

WIDTH, LEFT, RIGHT = 940, 58, 12
UPPER = (46, 190)
LOWER = (226, 340)
HEIGHT = 372
LABEL_ROWS = 3
LABEL_PX = 12

Scale = Callable[[float], float]


def timeline(recording: Recording) -> str:
    """The chart of one run."""
    moments = recording.timeline
    across = _linear(moments[0].at_s, max(moments[-1].at_s, moments[0].at_s + 1), LEFT, WIDTH - RIGHT)
    drawn = [*_throughput(moments, across), *_latency(moments, across), *_seconds(moments, across)]
    drawn += _marks(recording.marks, across)
    title = f"Throughput and latency during {recording.scenario}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(drawn)}</svg>'
    )


def _throughput(moments: Sequence[Moment], across: Scale) -> list[str]:
    """Deliveries are many times the sends, so each has a scale of its own, by its own median."""
    drawn = _frame(UPPER, "of its usual rate")
    up = _linear(0.0, 2.0, UPPER[1], UPPER[0])
    for share in (0.0, 0.5, 1.0, 1.5, 2.0):
        drawn += _grid(up(share), f"{share:.0%}")
    for name, style, x in (("delivered", "one", 200), ("acked", "two", 420)):
        counts = [getattr(moment, name) for moment in moments]
        usual = sorted(counts)[len(counts) // 2] or 1
        points = [
            (across(m.at_s), up(min(count / usual, 2.0))) for m, count in zip(moments, counts, strict=True)
        ]
        drawn += [
            _line(points, style),
            _legend(x, UPPER[1] + 16, f"{name}, usually {usual:,} a second", style),
        ]
    return drawn


def _latency(moments: Sequence[Moment], across: Scale) -> list[str]:
    drawn = _frame(LOWER, "ms to deliver")
    top = max(2, ceil(log10(max((moment.p99_ms for moment in moments), default=1.0) + 1)))
    up = _linear(0.0, float(top), LOWER[1], LOWER[0])
    for power in range(top + 1):
        drawn += _grid(up(float(power)), f"{10**power:,}")
    for name, style, x in (("p50_ms", "one", 200), ("p99_ms", "three", 300)):
        points = [
            (across(moment.at_s), up(log10(max(getattr(moment, name), 1.0))))
            for moment in moments
            if moment.p50_ms
        ]
        drawn += [_line(points, style), _legend(x, LOWER[1] + 28, name.removesuffix("_ms"), style)]
    return drawn


def _seconds(moments: Sequence[Moment], across: Scale) -> list[str]:
    last = moments[-1].at_s
    step = next(
        each for each in (5, 10, 20, 30, 60, 120, 300, 600, 3600) if last / each <= 14 or each == 3600
    )
    return [
        f'<text class="label" x="{across(at):.1f}" y="{LOWER[1] + 14}" text-anchor="middle">{at} s</text>'
        for at in range(0, int(last) + 1, step)
        if at >= moments[0].at_s
    ]


def _marks(marks: Sequence[Mark], across: Scale) -> list[str]:
    """Labels take turns in a few rows, so that neighbours do not cover each other."""
    drawn = []
    for number, mark in enumerate(sorted(marks, key=lambda mark: mark.at_s)):
        x, y = across(mark.at_s), 11 + LABEL_PX * (number % LABEL_ROWS)
        anchor = "end" if x > WIDTH * 0.72 else "start"
        shift = -4 if anchor == "end" else 4
        drawn.append(f'<line class="{mark.kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 8}" y2="{LOWER[1]}"/>')
        drawn.append(
            f'<text class="{mark.kind}" x="{x + shift:.1f}" y="{y}" text-anchor="{anchor}">{escape(mark.what)}</text>'
        )
    return drawn


def _frame(area: tuple[int, int], title: str) -> list[str]:
    return [f'<text class="label" x="{LEFT}" y="{area[1] + (16 if area is UPPER else 28)}">{title}</text>']


def _grid(y: float, label: str) -> list[str]:
    return [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
        f'<text class="label" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>',
    ]


def _legend(x: int, y: int, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x}" y="{y}">{text}</text>'


def _line(points: Sequence[tuple[float, float]], style: str) -> str:
    path = " ".join(f"{'L' if number else 'M'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(points))
    return f'<path class="{style}" d="{path}"/>'


def _linear(low: float, high: float, start: float, end: float) -> Scale:
    return lambda value: start + (value - low) / (high - low) * (end - start)
