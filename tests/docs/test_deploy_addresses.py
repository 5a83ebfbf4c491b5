"""Every node of the shipped deployments says where the others reach it, and clients find a way from one to another."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from posthouse.app.config import Config, load
from posthouse.app.reporting import Reporter
from posthouse.app.supervisor import environment_of
from posthouse.cluster.snapshot import NodeReport
from posthouse.health.probes import Probes
from posthouse.health.vitals import Vitals
from posthouse.kit.clock import ManualClock

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
POD_IP = "10.244.1.7"


def document(name: str, kind: str = "") -> Any:
    """One document of a YAML file. Patroni, which is there for the local cluster, brings the parser."""
    yaml: Any = importlib.import_module("yaml")
    found = yaml.safe_load_all((DEPLOY / name).read_text())
    return next(each for each in found if not kind or each["kind"] == kind)


def report(config: Config, port: int) -> NodeReport:
    """What a node of this configuration says of itself once it listens."""
    clock = ManualClock()
    reporter = Reporter(config, "n", Probes({}, clock), Vitals, clock)
    reporter.port = port
    return reporter.report()


def of_the_image() -> dict[str, str]:
    return dict(re.findall(r"\b(POSTHOUSE_[A-Z_]+)=(\S+)", (DEPLOY / "Dockerfile").read_text()))


def on_systemd(_: Path) -> Config:
    environment = environment_of(2, "chat", direct_port=8082, agent_port=8700)
    own = {name: environment[name] for name in environment if name.startswith("POSTHOUSE_LISTEN_")}
    return load(DEPLOY / "posthouse.toml", own).config


def on_compose(_: Path) -> Config:
    node = document("compose.yaml")["services"]["node-2"]["environment"]
    environment = {key: re.sub(r"\$\{[^}]*\}", "x" * 48, str(value)) for key, value in node.items()}
    return load(DEPLOY / "compose/posthouse.toml", of_the_image() | environment).config


def on_kubernetes(folder: Path) -> Config:
    fields = {"metadata.name": "posthouse-0", "status.podIP": POD_IP}
    pod = document("kubernetes/posthouse.yaml", "Deployment")["spec"]["template"]["spec"]
    environment = {
        entry["name"]: fields[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        for entry in pod["containers"][0]["env"]
        if "fieldRef" in entry.get("valueFrom", {})
    }
    file = folder / "posthouse.toml"
    file.write_text(document("kubernetes/posthouse.yaml", "ConfigMap")["data"]["posthouse.toml"])
    return load(file, of_the_image() | environment).config


@pytest.mark.parametrize(
    ("deployed", "port", "expected"),
    [
        (on_systemd, 8082, r"http://(?!127\.|localhost)[^/]+:8082"),
        (on_compose, 8080, r"http://node-2:8080"),
        (on_kubernetes, 8080, rf"http://{re.escape(POD_IP)}:8080"),
    ],
)
def test_each_node_has_an_address_of_its_own_and_clients_go_through_the_balancer(
    deployed: Any, port: int, expected: str, tmp_path: Path
) -> None:
    config = deployed(tmp_path)
    said = report(config, port)
    assert re.fullmatch(expected, said.api_url)
    assert config.listen.host == "0.0.0.0"
    assert said.clients_url or config.listen.front_url, "or nobody could be moved"


def test_compose_names_its_nodes_as_its_network_does() -> None:
    services = document("compose.yaml")["services"]
    for name in ("node-1", "node-2"):
        assert services[name]["environment"]["POSTHOUSE_NODE_ADDRESS"] == services[name]["hostname"] == name
        assert (
            services[name]["environment"].items() >= document("compose.yaml")["x-node"]["environment"].items()
        )


def test_a_plain_node_without_a_balancer_tells_clients_where_it_is() -> None:
    config = load(None, {"POSTHOUSE_LISTEN_HOST": "0.0.0.0"}).config
    said = report(config, 8080)
    assert said.clients_url == said.api_url.replace("http", "ws", 1)
    assert said.clients_url
