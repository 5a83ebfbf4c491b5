"""How a playground looks in a terminal: while it comes up, as `posthouse cluster status`, and how to go on."""

from collections.abc import Iterable

import click

from posthouse.testing.playground.part import PartStatus, State
from posthouse.testing.playground.plan import ClusterStatus

_COLOURS = {
    State.WAITING: "bright_black",
    State.STARTING: "yellow",
    State.PAUSED: "blue",
    State.KILLED: "red",
    State.STOPPED: "bright_black",
    State.ENDED: "red",
}


def table(status: ClusterStatus) -> str:
    """Every part on a line."""
    rows = [("NAME", "STATE", "ROLE", "ADDRESS", "")]
    rows += [(part.name, _state(part), part.role, part.address, _detail(part)) for part in status.parts]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = []
    for row, part in zip(rows, (None, *status.parts), strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)]
        if part is not None:
            cells[1] = click.style(cells[1], fg=colour(part))
        lines.append("  ".join([*cells, row[4]]).rstrip())
    return "\n".join(lines)


def colour(part: PartStatus) -> str:
    """Of a part's state: green is well."""
    if part.cut:
        return "magenta"
    return _COLOURS.get(part.state) or ("green" if part.healthy else "yellow")


def overview(status: ClusterStatus) -> str:
    """A line a group, as it comes up."""
    groups: dict[str, list[PartStatus]] = {}
    for part in status.parts:
        groups.setdefault(part.group, []).append(part)
    width = max(map(len, groups), default=0)
    lines = [
        f"  {group:{width}}  {'   '.join(_mark(part) for part in parts)}" for group, parts in groups.items()
    ]
    return "\n".join([f"The cluster is coming up: {status.seconds:.0f} s", *lines])


def changes(before: Iterable[PartStatus], now: Iterable[PartStatus]) -> Iterable[str]:
    """What has come up or gone since: for where there is no terminal."""
    known = {part.name: _word(part) for part in before}
    for part in now:
        word = _word(part)
        if known.get(part.name, "waiting") != word:
            yield f"{part.name}: {word}"


def first_screen(status: ClusterStatus, command: str, data: str) -> str:
    """The cluster is up: where it is, and what can be done with it."""
    fronted = any(part.name == "haproxy" for part in status.parts)
    nodes = [part for part in status.parts if part.group == "node"]
    behind = f"HAProxy before {len(nodes)} nodes" if fronted else "HAProxy is not installed: a node"
    rows = (
        ("address", f"{status.address}  ({behind})"),
        *zip(("nodes", *[""] * len(nodes)), (f"http://{n.address}  ({n.name})" for n in nodes), strict=False),
        ("data", f"{status.folder}  (ends with the cluster)"),
        ("token", f"{command} token ann{data}"),
        ("chat", f"{command} chat --as ann --with ben{data}"),
        ("", f"{command} chat --as ben --with ann{data}"),
        ("look", f"{command} cluster status"),
        ("break", f"{command} cluster kill node-1"),
        ("", f"{command} cluster kill database-a primary"),
        ("", f"{command} cluster kill cache primary"),
        ("mend", f"{command} cluster start node-1"),
    )
    lines = [f"  {click.style(f'{name:9}', dim=True)}{text}" for name, text in rows]
    title = click.style(f"The cluster is up, after {status.seconds:.0f} s", fg="green", bold=True)
    return "\n".join([title, "", *lines])


def _state(part: PartStatus) -> str:
    unwell = part.state is State.RUNNING and not part.healthy
    return f"{part.state}{', unwell' if unwell else ''}{f', cut {part.cut}' if part.cut else ''}"


def _detail(part: PartStatus) -> str:
    return part.detail or (f"pid {part.pid}" if part.pid else "")


def _word(part: PartStatus) -> str:
    role = f", {part.role}" if part.role else ""
    return f"{_state(part)}{role}" if part.state is State.RUNNING else str(part.state)


def _mark(part: PartStatus) -> str:
    number = part.name.removeprefix(part.group).strip("-")
    name = f"{number} {part.role}" if part.role else number
    return click.style(f"{'●' if part.state is State.RUNNING else '○'} {name}".rstrip(), fg=colour(part))
