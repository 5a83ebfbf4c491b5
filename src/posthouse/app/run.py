"""Runs one node until it is told to stop: the event loop, the signals, the log."""

import asyncio
import gc
import signal
from collections.abc import Callable

import uvloop

from posthouse.app.config.values import Config
from posthouse.app.node import Node
from posthouse.kit.log import configure

COLLECT_THRESHOLDS = (50_000, 20, 100)
"""Sessions and rooms are many and long-lived: looking through all of them is done a hundred times less often."""


def run(config: Config, on_ready: Callable[[Node], None] = lambda node: None) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends at once. `on_ready` is called when clients are served.

    Raises `FolderInUse`, `StorageUnavailable`, `SecretsError`, `InvalidKey` or `OSError` when the node cannot start.
    """
    configure(config.log.level)
    uvloop.run(_serve(config, on_ready))


async def _serve(config: Config, on_ready: Callable[[Node], None]) -> None:
    node = Node(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop_or_force, stop, number)
    await node.start()
    gc.freeze()  # what is here now stays
    gc.set_threshold(*COLLECT_THRESHOLDS)
    on_ready(node)
    await stop.wait()
    await node.stop()


def _stop_or_force(stop: asyncio.Event, number: signal.Signals) -> None:
    if stop.is_set():
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    stop.set()
