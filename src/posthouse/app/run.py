"""Runs one node until it is told to stop: the event loop, the signals, the log."""

import asyncio
import gc
import signal
from collections.abc import Callable
from typing import NamedTuple

import uvloop

from posthouse.app.config.values import Config
from posthouse.app.node import Node
from posthouse.app.pulse import Pulse
from posthouse.kit.log import configure

COLLECT_THRESHOLDS = (50_000, 20, 100)
"""Sessions and rooms are many and long-lived: looking through all of them is done a hundred times less often."""


class Worker(NamedTuple):
    """One of several under a supervisor: its number, the line to the supervisor, and what it was started for."""

    number: int
    pulse: Pulse
    why: str


def run(
    config: Config, on_ready: Callable[[Node], None] = lambda node: None, worker: Worker | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends at once. `on_ready` is called when clients are served.

    Raises `FolderInUse`, `StorageUnavailable`, `SecretsError`, `InvalidKey` or `OSError` when the node cannot start.
    """
    configure(config.log.level, **({"worker": worker.number} if worker is not None else {}))
    uvloop.run(_serve(config, on_ready, worker))


async def _serve(config: Config, on_ready: Callable[[Node], None], worker: Worker | None) -> None:
    node = Node(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop_or_force, stop, number)
    if worker is not None:
        worker.pulse.begin(stop.set)
    await node.start()
    gc.freeze()  # what is here now stays
    gc.set_threshold(*COLLECT_THRESHOLDS)
    on_ready(node)
    if worker is not None:
        worker.pulse.ready(node.port)
    await stop.wait()
    await node.stop()


def _stop_or_force(stop: asyncio.Event, number: signal.Signals) -> None:
    if stop.is_set():
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    stop.set()
