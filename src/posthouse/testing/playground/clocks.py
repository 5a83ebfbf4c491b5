"""A wrong clock for a host of the playground: libfaketime in its processes. The monotonic clock stays right."""

from collections.abc import Mapping
from pathlib import Path

_PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1",
           "/usr/local/lib/faketime/libfaketimeMT.so.1")  # fmt: skip


def library() -> Path | None:
    """Where libfaketime is installed, if it is."""
    return next((path for place in _PLACES for path in Path("/").glob(place[1:])), None)


def why_no_wrong_clock() -> str:
    """Why no host can have a wrong clock here; empty where it can."""
    return "" if library() else "libfaketime, which moves a process's clock, is not installed"


def environment(off_s: float) -> Mapping[str, str]:
    """For processes whose wall clock is so many seconds ahead."""
    found = library()
    if not off_s or found is None:
        return {}
    return {
        "LD_PRELOAD": str(found),
        "FAKETIME": f"{off_s:+g}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }
