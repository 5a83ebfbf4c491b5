"""What a process holds, counted: tasks, timers, objects by type, entries of every container that our objects own.

`python -m posthouse.testing.census SOCKET …` is `posthouse …` with a thread beside it that answers on a UNIX socket:
the product counts nothing of this by itself. Counting looks at every object, some ten milliseconds for a small node.
"""

import asyncio
import gc
import runpy
import socket
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

ANSWER_TIMEOUT_S = 60.0
OURS = "posthouse."
Container = dict[Any, Any] | set[Any] | frozenset[Any] | list[Any] | tuple[Any, ...] | deque[Any]
CONTAINERS = (dict, set, frozenset, list, tuple, deque)
STATEMENTS = "_StatementCache"
"""asyncpg's, of each connection: a timer for each entry, and a limit of its own."""
COLLECT, COUNT = b"collect\n", b"count\n"
"""What is asked: `collect` throws away first what nobody holds any more."""


class Census(msgspec.Struct, frozen=True):
    """`objects`: instances of our types, by the type. `contents`: entries in the containers that they own."""

    tasks: int
    timers: int
    objects: dict[str, int]
    contents: dict[str, int]


def census(*, collect: bool = False) -> Census:
    """Count now, in this process. `collect`: throw away first what nobody holds any more."""
    if collect:
        gc.collect()
    objects: Counter[str] = Counter()
    contents: Counter[str] = Counter()
    known: set[int] = set()  # one container may have several owners
    tasks = timers = 0
    for each in gc.get_objects():
        kind = type(each)  # some types of C have no name of a module
        timers += kind.__name__ == "TimerHandle" and STATEMENTS not in repr(each)
        tasks += (
            issubclass(kind, asyncio.Task) and not each.done()
        )  # not `isinstance`, which asks what is proxied
        if str(kind.__module__).startswith(OURS):
            objects[_name(kind)] += 1
            for attribute, held in _owned(each):
                if id(held) not in known:
                    known.add(id(held))
                    contents[f"{_name(kind)}.{attribute}"] += len(held)
    return Census(tasks, timers, dict(objects), dict(contents))


def ask(path: Path, *, collect: bool = False) -> Census:
    """The census of the process that answers at `path`. Raises `OSError` when it is gone."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(ANSWER_TIMEOUT_S)
        asking.connect(str(path))
        asking.sendall(COLLECT if collect else COUNT)
        with asking.makefile("rb") as answer:
            return msgspec.json.decode(answer.read(), type=Census)


def answer_at(path: Path) -> None:
    """From now on answer `ask` from a thread. What is there already stays countable: nothing is frozen."""
    gc.freeze = lambda: None
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    threading.Thread(target=_answer, args=(listening,), name="census", daemon=True).start()


def _answer(listening: socket.socket) -> None:
    while True:
        asking, _ = listening.accept()
        with asking:
            found = census(collect=asking.recv(len(COLLECT)) == COLLECT)
            asking.sendall(msgspec.json.encode(found))


def _name(kind: type) -> str:
    return f"{kind.__module__.removeprefix(OURS)}:{kind.__qualname__}"


def _owned(holder: object) -> Iterator[tuple[str, Container]]:
    """The containers among an object's attributes, with their names."""
    if isinstance(holder, type):
        return
    for attribute, value in _attributes(holder):
        if isinstance(value, CONTAINERS) and getattr(value, "maxlen", None) is None:  # a ring cannot grow
            yield attribute, value


def _attributes(holder: object) -> Iterator[tuple[str, object]]:
    yield from list(getattr(holder, "__dict__", {}).items())
    for kind in type(holder).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if not slot.startswith("__"):
                yield slot, getattr(holder, slot, None)


def main() -> None:
    """The program."""
    answer_at(Path(sys.argv.pop(1)))
    runpy.run_module("posthouse", run_name="__main__")


if __name__ == "__main__":
    main()
