"""Times as people read them: in the zone of the machine. Pure, but for that zone."""

from datetime import UTC, datetime


def local_time(at_ms: int) -> str:
    """`2026-11-23 22:40:10`."""
    return _local(at_ms).strftime("%Y-%m-%d %H:%M:%S")


def clock_time(at_ms: int) -> str:
    """`22:40`."""
    return _local(at_ms).strftime("%H:%M")


def day(at_ms: int) -> str:
    """`Monday, 23 November 2026`."""
    at = _local(at_ms)
    return f"{at:%A}, {at.day} {at:%B %Y}"


def _local(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone()
