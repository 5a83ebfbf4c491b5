"""How far long work has come: a bar on standard error while a person is looking, and nothing otherwise."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from posthouse.kit.tasks import start

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from posthouse.client import Runtime

LOOK_EACH_S = 0.2


@contextmanager
def progress(
    what: str, total: int, done: Callable[[], int], runtime: "Runtime", *, shown: bool = True
) -> Iterator[None]:
    """Inside, on a running event loop, show how many of `total` are `done`."""
    if not shown or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        looking = start(_look(bar, bar.add_task(what, total=total), done, runtime))
        try:
            yield
        finally:
            looking.cancel()


async def _look(bar: "Progress", task: "TaskID", done: Callable[[], int], runtime: "Runtime") -> None:
    while True:
        bar.update(task, completed=done())
        await runtime.clock.sleep(LOOK_EACH_S)


@contextmanager
def working(what: str, *, shown: bool = True) -> Iterator[None]:
    """Inside, show that something is being done whose length is not known."""
    if not shown or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
