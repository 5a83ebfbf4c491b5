"""A census counts what a process holds, also of another process, and notices what is kept."""

import asyncio
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from posthouse.messaging.fanout import Room, Rooms
from posthouse.testing.census import Census, ask, census

PROGRAM = """
import sys, threading
from pathlib import Path
from posthouse.testing.census import answer_at
from posthouse.messaging.fanout import Room
answer_at(Path(sys.argv[1]))
kept = [Room(("app", str(number))) for number in range(40)]
kept[0].sessions.extend(range(7))
loop = [Room(("app", "lost"))]
loop[0].sessions.append(loop[0])  # nobody holds it, but it holds itself
del loop
print("there", flush=True)
threading.Event().wait()
"""


class Gone:
    gone = True


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Path]:
    """Where a process of its own answers, which holds forty rooms, and one that is garbage."""
    path = tmp_path / "census"
    started = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stdout.readline() == b"there\n"
    yield path
    started.kill()
    started.wait()
    started.stdout.close()


def grown(before: Census, after: Census, name: str) -> int:
    return {**after.objects, **after.contents}.get(name, 0) - {**before.objects, **before.contents}.get(
        name, 0
    )


def test_objects_of_ours_and_what_their_containers_hold_are_counted() -> None:
    before = census(collect=True)
    rooms: Rooms[Gone] = Rooms()
    for number in range(30):
        rooms.enter(("app", str(number)), Gone())[0].sessions.extend(Gone() for _ in range(4))
    after = census()
    assert grown(before, after, "messaging.fanout:Room") == 30
    assert grown(before, after, "messaging.fanout:Room.sessions") == 150
    del rooms
    assert grown(before, census(collect=True), "messaging.fanout:Room") == 0


def test_a_container_with_two_owners_is_counted_once_and_a_ring_not_at_all() -> None:
    before = census(collect=True)
    one: Room[Gone] = Room(("app", "c"))
    two: Room[Gone] = Room(("app", "d"))
    one.sessions = two.sessions = [Gone(), Gone(), Gone()]
    assert grown(before, census(), "messaging.fanout:Room.sessions") == 3
    one.sessions = two.sessions = deque([Gone()] * 5, maxlen=5)  # type: ignore[assignment]
    assert grown(before, census(), "messaging.fanout:Room.sessions") == 0


async def test_tasks_and_timers_are_counted_while_they_wait() -> None:
    before = census(collect=True)
    never = asyncio.Event()
    waiting = [asyncio.create_task(never.wait()) for _ in range(5)]
    timers = [asyncio.get_running_loop().call_later(3600, never.set) for _ in range(5)]
    during = census()
    assert (during.tasks - before.tasks, during.timers - before.timers) == (5, 5)
    for timer in timers:
        timer.cancel()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert census(collect=True).tasks == before.tasks


def test_another_process_tells_what_it_holds_and_what_only_waits_to_be_collected(process: Path) -> None:
    counted = ask(process)
    assert counted.objects["messaging.fanout:Room"] == 41
    assert counted.contents["messaging.fanout:Room.sessions"] == 8
    assert ask(process, collect=True).objects["messaging.fanout:Room"] == 40


def test_a_process_that_is_gone_tells_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ask(tmp_path / "nobody")


def test_what_stands_for_something_that_is_gone_is_passed_over() -> None:
    """A weak proxy asks what it stands for even when only its class is asked for."""

    class Gone:
        pass

    gone = Gone()
    proxy = weakref.proxy(gone)
    del gone
    assert census(collect=True).tasks == census().tasks
    assert type(proxy) is weakref.ProxyType
