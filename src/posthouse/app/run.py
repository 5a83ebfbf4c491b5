"""Runs one node until it is told to stop: the event loop, the signals, the log."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import uvloop

from posthouse.app.config.values import Config
from posthouse.app.node import Node
from posthouse.app.pulse import RESTART_STATUS, Pulse
from posthouse.kit.descriptors import raise_limit
from posthouse.kit.log import configure

PRIVATE = 0o077
"""Nobody else on the machine reads what this process writes: messages, keys, copies that the database makes."""
COLLECT_THRESHOLDS = (50_000, 20, 100)
"""Sessions and rooms are many and long-lived: looking through all of them is done a hundred times less often."""

SWITCH_INTERVAL_S = 0.001
"""How long a busy event loop keeps the thread that writes to SQLite waiting for the interpreter, some twenty times a
batch. With Python's 0.005 half of what a batch takes is that waiting; with less the switching itself costs."""


class Worker(NamedTuple):
    """One of several under a supervisor: its number, the line to the supervisor, and what it was started for."""

    number: int
    pulse: Pulse
    why: str


def run(
    config: Config, on_ready: Callable[[Node], None] = lambda node: None, worker: Worker | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends at once. `on_ready` is called when clients are served.

    SIGHUP reads the certificate again, where there is one. Raises `FolderInUse`, `StorageUnavailable`, `SecretsError`,
    `InvalidKey`, `CertificateError` or `OSError` when the node cannot start.
    """
    os.umask(PRIVATE)
    raise_limit()
    configure(config.log.level, **({"worker": worker.number} if worker is not None else {}))
    if uvloop.run(_serve(config, on_ready, worker)):
        raise SystemExit(RESTART_STATUS)


async def _serve(config: Config, on_ready: Callable[[Node], None], worker: Worker | None) -> bool:
    """True when the node wants to be started again."""
    node = Node(config, worker=worker.number if worker is not None else 0)
    stop = asyncio.Event()
    tired: list[str] = []
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop_or_force, stop, number)
    if worker is not None:
        worker.pulse.begin(stop.set)
        node.parts.tending.restart = partial(_give_way, tired, stop)
    await node.start()
    if config.tls.certificate:
        loop.add_signal_handler(signal.SIGHUP, node.renew_certificate)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()  # what is here now stays
    gc.set_threshold(*COLLECT_THRESHOLDS)
    on_ready(node)
    if worker is not None:
        worker.pulse.ready(node.port)
        node.parts.events.record("worker", node.gateway.node, f"it was started: {worker.why}")
    await stop.wait()
    await node.stop()
    return bool(tired)


def _give_way(tired: list[str], stop: asyncio.Event, why: str) -> None:
    """This process ends in order, and its supervisor starts another in its place."""
    tired.append(why)
    stop.set()


def _stop_or_force(stop: asyncio.Event, number: signal.Signals) -> None:
    if stop.is_set():
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    stop.set()
