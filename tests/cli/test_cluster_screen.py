"""What `posthouse cluster up` shows once the cluster is up."""

import click
import pytest

from posthouse.cli.cluster_screen import first_screen
from posthouse.testing.playground.part import PartStatus, State
from posthouse.testing.playground.plan import ClusterStatus


def part(name: str, group: str, port: int) -> PartStatus:
    return PartStatus(name=name, group=group, state=State.RUNNING, healthy=True, address=f"127.0.0.1:{port}")


NODES = (part("node-1", "node", 8081), part("node-2", "node", 8082))


@pytest.mark.parametrize("front", [(), (part("haproxy", "haproxy", 8080),)])
def test_the_first_screen_has_the_address_of_each_node(front: tuple[PartStatus, ...]) -> None:
    status = ClusterStatus(state="up", seconds=20.0, address="http://127.0.0.1:8080", parts=(*front, *NODES))
    lines = click.unstyle(first_screen(status, "posthouse", "")).splitlines()
    shown = [line.split() for line in lines if "http://" in line]
    assert shown[0][:2] == ["address", "http://127.0.0.1:8080"]
    assert shown[1:] == [
        ["nodes", "http://127.0.0.1:8081", "(node-1)"],
        ["http://127.0.0.1:8082", "(node-2)"],
    ]
