"""The saved corpus: few small inputs that together reach every step of the parser's own code that fuzzing has reached.

A step is two lines run one after the other, what kind of value a function gave back, or how an error was worded,
without the names and numbers in it: the last two show what a library below did unseen.
"""

import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from fuzz.loop import CORPUS, Broken, Fuzzer

FILES_MAX = 60
BYTES_MAX = 64 << 10
SHRINKS_MAX = 300
PREFIX = "reached-"

Step = tuple[str, int, int | str]
Steps = frozenset[Step]


def reached(fuzzer: Fuzzer, data: bytes) -> Steps:
    """What `check` runs of the fuzzer's modules. Raises what it raises."""
    steps: set[Step] = set()

    def enter(frame: FrameType, event: str, argument: object) -> Any:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(fuzzer.modules):
            return None
        before = -frame.f_code.co_firstlineno

        def step(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal before
            if event == "line":
                steps.add((module, before, frame.f_lineno))
                before = frame.f_lineno
            else:
                said = _wording(argument[1]) if event == "exception" else type(argument).__name__
                steps.add((module, frame.f_lineno, said))
            return step

        return step

    tracing = sys.gettrace()
    sys.settrace(enter)
    try:
        fuzzer.check(data)
    finally:
        sys.settrace(tracing)
    return frozenset(steps)


def _wording(error: object) -> str:
    """Short, without numbers and names. Until Python 3.12 `error` is a text where C code has raised it."""
    return re.sub(r"\d+|'[^']*'|`\$[^`]*`", "_", f"{type(error).__name__} {error}")[:80]


def grown(fuzzer: Fuzzer, seed: int, inputs_max: int, until: Callable[[], bool]) -> dict[bytes, Steps]:
    """Inputs worth keeping, each with what it reaches: of the corpus, of the seeds, and new ones. Raises `Broken`."""
    known = fuzzer.known()
    found: dict[bytes, Steps] = {}
    total: set[Step] = set()
    for tried, data in enumerate(fuzzer.inputs(seed, known)):
        if tried >= inputs_max or until():
            break
        steps = _reached(fuzzer, data, tried)
        new = steps - total
        if new:
            data = _shrunk(fuzzer, data, new)
            found[data] = _reached(fuzzer, data, tried)
            total |= found[data]
            known.append(data)
    return smallest(found)


def smallest(found: Mapping[bytes, Steps]) -> dict[bytes, Steps]:
    """As few of them as reach the same, the small ones first; no more than the limits allow."""
    kept: dict[bytes, Steps] = {}
    for data in sorted(found, key=lambda each: (len(each), each)):
        fits = len(kept) < FILES_MAX and sum(map(len, kept)) + len(data) <= BYTES_MAX
        if fits and not found[data] <= frozenset().union(*kept.values()):
            kept[data] = found[data]
    for data in list(kept):
        if kept[data] <= frozenset().union(*(steps for each, steps in kept.items() if each != data)):
            del kept[data]
    return kept


def save(fuzzer: Fuzzer, inputs: Mapping[bytes, Steps]) -> list[Path]:
    """In place of what was saved before; what broke something stays."""
    folder = CORPUS / fuzzer.name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{PREFIX}*"):
        old.unlink()
    paths = [folder / file_name(data) for data in inputs]
    for path, data in zip(paths, inputs, strict=True):
        path.write_bytes(data)
    return paths


def file_name(data: bytes) -> str:
    """What the file of an input is called."""
    return f"{PREFIX}{hashlib.sha256(data).hexdigest()[:12]}"


def _reached(fuzzer: Fuzzer, data: bytes, tried: int) -> Steps:
    try:
        return reached(fuzzer, data)
    except Exception as error:
        raise Broken(data, tried) from error


def _shrunk(fuzzer: Fuzzer, data: bytes, wanted: Steps) -> bytes:
    """A smaller input that still reaches what is wanted: without as many of its stretches as can go."""
    left, size = SHRINKS_MAX, len(data) // 2
    while size and left > 0:
        at = 0
        while at < len(data) and left > 0:
            shorter = data[:at] + data[at + size :]
            left -= 1
            if wanted <= _reached(fuzzer, shorter, 0):
                data = shorter
            else:
                at += size
        size //= 2
    return data
