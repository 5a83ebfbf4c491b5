"""deploy/: whatever can be checked here is. Keys, commands, ports, paths and settings must exist, and fit together."""

import importlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner

from posthouse.api.operations import add_operations
from posthouse.app.config import Config, ConfigError, load
from posthouse.app.config.fields import fields, rooms
from posthouse.app.config.text import sample
from posthouse.app.supervisor import environment_of
from posthouse.auth.keys import Algorithm, AppKeys, InvalidKey, SigningKey
from posthouse.auth.tokens import TokenVerifier
from posthouse.cli.root import COMMANDS, root
from posthouse.cluster.haproxy import HaproxyPlan, Server, render
from posthouse.storage.engines.postgres.session import VERSION_MIN
from posthouse.testing.postgres import find_binaries
from posthouse.testing.valkey import LocalValkey, find_binary

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
FILES = [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()]
OF_THE_COMMANDS = {"POSTHOUSE_ADDRESS", "POSTHOUSE_KEY"}
"""Variables that commands take, beside those of the configuration."""


def documents(name: str) -> list[Any]:
    """The documents of a YAML file. Patroni, which is there for the local cluster, brings the parser."""
    yaml: Any = importlib.import_module("yaml")
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def shared(environment: dict[str, str] | None = None) -> Config:
    """What the nodes of deploy/posthouse.toml are configured to."""
    return load(DEPLOY / "posthouse.toml", environment or {}).config


# All files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_variable_exists(path: Path) -> None:
    known = {f"POSTHOUSE_{name}_{key}".upper() for name, room in rooms().items() for key in fields(room)}
    named = set(re.findall(r"\bPOSTHOUSE_[A-Z_]+", path.read_text()))
    assert named <= known | OF_THE_COMMANDS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_key_of_the_configuration_that_is_mentioned_exists(path: Path) -> None:
    mentioned = re.findall(rf"\b({'|'.join(rooms())})\.([a-z]+_[a-z_]+)\b", path.read_text())
    assert [f"{room}.{key}" for room, key in mentioned if key not in fields(rooms()[room])] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_command_exists(path: Path) -> None:
    """`posthouse COMMAND` anywhere, with the options that follow it on the line."""
    for command, rest in re.findall(rf"posthouse ({'|'.join(COMMANDS)})\b([^`\n]*)", path.read_text()):
        shown = CliRunner().invoke(root, [command, "--help"])
        assert shown.exit_code == 0
        told = shown.output + CliRunner().invoke(root, [command, *rest.split()[:1], "--help"]).output
        assert [option for option in re.findall(r"--[a-z][a-z-]+", rest) if option not in told] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_file_is_told_of(path: Path) -> None:
    told = (DEPLOY / "README.md").read_text() + (ROOT / "docs/deploy.md").read_text()
    assert path.name in told or str(path.parent.relative_to(DEPLOY)) in told


KEY = re.compile(r'^[ #]*(secret|public_key|private_key) = "(.*)"$', re.MULTILINE)
PASSWORD = re.compile(
    r"^ *(?:POSTHOUSE_AUTH_RESUME_SECRET|[A-Z_]*PASSWORD|password)\b *[:=] *(.*)$", re.MULTILINE
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_nobody_can_use_a_secret_that_is_shipped(path: Path) -> None:
    """Everybody knows it. Each must be refused at the start, also when the lines around it are no comment any more."""
    keys = KEY.findall(path.read_text())
    for kind, value in keys:
        assert is_refused(kind, value), f"{value!r} would sign tokens"
    passwords = PASSWORD.findall(path.read_text())
    assert [value for value in passwords if value and not re.fullmatch(r"\$\{\w+:\?.*\}", value)] == []


def test_nobody_can_use_the_secret_of_the_sample() -> None:
    ((kind, value),) = [(kind, value) for kind, value in KEY.findall(sample()) if value]
    assert is_refused(kind, value)


def is_refused(kind: str, value: str) -> bool:
    algorithm = Algorithm.HS256 if kind == "secret" else Algorithm.EDDSA
    key = msgspec.structs.replace(SigningKey(kid="k", algorithm=algorithm), **{kind: value})
    try:
        TokenVerifier({"example": AppKeys(signing=(key,))}, ttl_s_max=60)
    except InvalidKey:
        return True
    return False


def test_the_compose_file_says_how_to_make_a_key(tmp_path: Path) -> None:
    """The command in its head puts one into the place of the shipped one, which is then taken."""
    (command,) = re.findall(r"^#   (sed .*)$", (DEPLOY / "compose.yaml").read_text(), re.MULTILINE)
    (tmp_path / "deploy/compose").mkdir(parents=True)
    shutil.copy(DEPLOY / "compose/posthouse.toml", tmp_path / "deploy/compose/posthouse.toml")
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, timeout=50)
    ((kind, value),) = KEY.findall((tmp_path / "deploy/compose/posthouse.toml").read_text())
    assert not is_refused(kind, value)


def test_one_version_of_postgresql_is_asked_for() -> None:
    engine = ROOT / "src/posthouse/storage/engines/postgres/__init__.py"
    named = {
        number
        for path in (
            *FILES,
            *(ROOT / "docs").glob("*.md"),
            ROOT / "README.md",
            ROOT / "ARCHITECTURE.md",
            engine,
        )
        for number in re.findall(r"PostgreSQL (\d+) or newer", path.read_text())
    }
    assert named == {str(VERSION_MIN // 10_000)}


# The configuration and systemd --------------------------------------------------------------------------------------


def test_the_configuration_of_the_nodes_is_one() -> None:
    config = shared({"POSTHOUSE_AUTH_RESUME_SECRET": "x" * 48})
    assert config.workers.count > 1
    assert config.cache.url != "memory"
    assert set(config.databases) == {"main"}


@pytest.mark.parametrize("unit", ["posthouse.service", "posthouse@.service"])
def test_systemd_waits_longer_than_draining_takes(unit: str) -> None:
    config, text = shared(), (DEPLOY / "systemd" / unit).read_text()
    (timeout_s,) = map(int, re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE))
    assert timeout_s > config.workers.stop_timeout_s > config.drain.window_s
    (files,) = map(int, re.findall(r"^LimitNOFILE=(\d+)$", text, re.MULTILINE))
    assert files > config.limits.connections_max


def test_units_of_their_own_have_ports_of_their_own_as_far_as_their_file_says() -> None:
    text = (DEPLOY / "systemd/posthouse@.service").read_text()
    ((first, last),) = re.findall(r"posthouse@(\d+) to posthouse@(\d+)", text)
    numbers = range(int(first), int(last) + 1)
    configs = [shared(environment_of_unit(text, number)) for number in numbers]
    ports = {port for config in configs for port in (config.listen.port, config.agent.port)}
    assert len(ports) == 2 * len(numbers)
    with pytest.raises(ConfigError, match="port"):
        shared(environment_of_unit(text, numbers.stop))


def environment_of_unit(text: str, number: int) -> dict[str, str]:
    """What systemd gives to an instance, `posthouse@NUMBER`."""
    here = text.replace("%i", str(number)).replace("%l", "host")
    return dict(re.findall(r"^Environment=(\w+)=(.*)$", here, re.MULTILINE))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for path in (DEPLOY / "systemd").iterdir():
        name = path.name.replace("@.", "@1.")
        (tmp_path / name).write_text(path.read_text().replace("/opt/posthouse/bin/posthouse", "/bin/true"))
    units = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "posthouse" in line]
    assert complaints == []


# Containers ---------------------------------------------------------------------------------------------------------


def test_the_image_copies_what_there_is() -> None:
    for sources in re.findall(
        r"^COPY (?!--from)(.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE
    ):
        assert [source for source in sources.split() if not (ROOT / source).exists()] == []


def test_the_compose_file_hangs_together() -> None:
    (compose,) = documents("compose.yaml")
    services = compose["services"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        assert service["restart"] == "always"
        assert {config["source"] for config in service.get("configs", ())} <= set(compose["configs"])
    for config in compose["configs"].values():
        assert (DEPLOY / config["file"]).is_file()
    node = services["node-1"]
    assert (DEPLOY / node["build"]["context"] / node["build"]["dockerfile"]).resolve().is_file()
    assert int(node["stop_grace_period"].rstrip("s")) > Config().drain.window_s
    environment = {key: re.sub(r"\$\{[^}]*\}", "x" * 48, value) for key, value in node["environment"].items()}
    config = load(DEPLOY / "compose/posthouse.toml", environment).config
    assert re.search(r"@postgres:5432/", config.database.url)
    assert config.cache.url.startswith("redis://valkey:")


# Kubernetes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def kubernetes() -> dict[str, Any]:
    return {document["kind"]: document for document in documents("kubernetes/posthouse.yaml")}


def test_selectors_find_the_pods(kubernetes: dict[str, Any]) -> None:
    pods = kubernetes["Deployment"]["spec"]["template"]["metadata"]["labels"]
    spec = kubernetes["Deployment"]["spec"]
    assert spec["selector"]["matchLabels"] == pods
    assert kubernetes["Service"]["spec"]["selector"] == pods
    assert kubernetes["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == pods
    assert kubernetes["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    (required,) = spec["template"]["spec"]["affinity"]["podAntiAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert required["labelSelector"]["matchLabels"] == pods


def test_probes_ask_what_nodes_answer(kubernetes: dict[str, Any]) -> None:
    app = web.Application()
    add_operations(app, service=None)  # type: ignore[arg-type]
    answered = {route.resource.canonical for route in app.router.routes() if route.resource is not None}
    (container,) = kubernetes["Deployment"]["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe, path in (
        ("startupProbe", "/healthz"),
        ("livenessProbe", "/healthz"),
        ("readinessProbe", "/readyz"),
    ):
        asked = container[probe]["httpGet"]
        assert asked["path"] == path
        assert path in answered
        assert ports[asked["port"]] == configured(kubernetes).listen.port
    assert ports[kubernetes["Service"]["spec"]["ports"][0]["targetPort"]] == 8080


def test_draining_fits_into_the_time_there_is(kubernetes: dict[str, Any]) -> None:
    pod = kubernetes["Deployment"]["spec"]["template"]["spec"]
    (command,) = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][2:]
    within_s = int(re.findall(r"--within (\d+)s", command)[0])
    assert pod["terminationGracePeriodSeconds"] > within_s + configured(kubernetes).drain.window_s + 30


def test_what_pods_refer_to_is_there(kubernetes: dict[str, Any]) -> None:
    pod = kubernetes["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert volumes["config"]["configMap"]["name"] == kubernetes["ConfigMap"]["metadata"]["name"]
    config_file = container["args"][container["args"].index("--config") + 1]
    mounted = next(mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "config")
    assert config_file.removeprefix(f"{mounted}/") in kubernetes["ConfigMap"]["data"]
    made = set(re.findall(r"--from-literal=([a-z-]+)=", (DEPLOY / "kubernetes/posthouse.yaml").read_text()))
    secrets = [
        entry["valueFrom"] for entry in container["env"] if "secretKeyRef" in entry.get("valueFrom", {})
    ]
    assert {each["secretKeyRef"]["key"] for each in secrets} == made


def configured(kubernetes: dict[str, Any]) -> Config:
    """What the pods' file says."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "posthouse.toml"
        file.write_text(kubernetes["ConfigMap"]["data"]["posthouse.toml"])
        return load(file).config


# Patroni, Valkey, HAProxy -------------------------------------------------------------------------------------------


def test_patroni_loses_nothing_that_was_acknowledged() -> None:
    dcs = documents("patroni/patroni.yaml")[0]["bootstrap"]["dcs"]
    assert (dcs["synchronous_mode"], dcs["synchronous_mode_strict"]) == (True, True)
    assert (dcs["ttl"], dcs["loop_wait"], dcs["retry_timeout"], dcs["primary_start_timeout"]) == (20, 5, 5, 0)
    assert dcs["ttl"] >= dcs["loop_wait"] + 2 * dcs["retry_timeout"]
    parameters = dcs["postgresql"]["parameters"]
    assert [parameters[key] for key in ("fsync", "full_page_writes", "synchronous_commit")] == ["on"] * 3


def test_patroni_accepts_its_file(tmp_path: Path) -> None:
    pytest.importorskip("patroni", reason="Patroni is not installed")
    text = (DEPLOY / "patroni/patroni.yaml").read_text()
    text = re.sub(r"\b(etcd|db)-\d\b", "127.0.0.1", text).replace("name: 127.0.0.1", "name: db-1")
    text = text.replace("/usr/lib/postgresql/17/bin", str(find_binaries()))
    text = text.replace("/var/lib/postgresql/17/main", str(tmp_path / "data"))
    (tmp_path / "patroni.yaml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "patroni", "--validate-config", tmp_path / "patroni.yaml"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert complaints_of_patroni(done.stdout + done.stderr) == []


def complaints_of_patroni(said: str) -> list[str]:
    """But for ports that are in use on this machine, and servers that are not there."""
    of_this_machine = ("not reachable", "connect_address", "listen")
    return [line for line in said.splitlines() if line and not any(word in line for word in of_this_machine)]


def test_valkey_accepts_its_file_and_keeps_nothing_on_disk(tmp_path: Path) -> None:
    lines = (DEPLOY / "valkey/valkey.conf").read_text().splitlines()
    pairs = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    assert (pairs["save"], pairs["appendonly"], pairs["maxmemory-policy"]) == ('""', "no", "noeviction")
    settings = {
        key: value for key, value in pairs.items() if key not in ("bind", "port", "protected-mode", "save")
    }
    with LocalValkey(settings=settings) as server:
        assert server.call("SET", "route", "1") == b"OK"


def test_sentinel_accepts_its_file(tmp_path: Path) -> None:
    with LocalValkey() as primary:
        text = (DEPLOY / "valkey/sentinel.conf").read_text()
        text = text.replace("cache-1 6379", f"127.0.0.1 {primary.port}").replace(
            "bind 0.0.0.0", "bind 127.0.0.1"
        )
        file = tmp_path / "sentinel.conf"
        file.write_text(text.replace("port 26379", "port 0\nunixsocket " + str(tmp_path / "s")))
        with subprocess.Popen(
            [find_binary(), file, "--sentinel"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as sentinel:
            try:
                assert any("+monitor master posthouse" in line for line in lines_for_a_while(sentinel))
            finally:
                sentinel.kill()


def lines_for_a_while(process: "subprocess.Popen[str]") -> Iterator[str]:
    assert process.stdout is not None
    deadline = time.monotonic() + 20
    for line in process.stdout:
        yield line
        if time.monotonic() > deadline:
            return


TWO = tuple(Server(f"node-{n}", f"node-{n}", 8080, 8700) for n in (1, 2))


def workers_of(host: str, address: str) -> Iterator[Server]:
    """The nodes of a machine that runs posthouse.service with deploy/posthouse.toml, as its supervisor has them."""
    config = shared()
    for number in range(1, config.workers.count + 1):
        direct = config.listen.port + number
        environment = environment_of(number, f"{host}-{config.listen.port}", direct, config.agent.port)
        node = shared({key: value for key, value in environment.items() if key.startswith("POSTHOUSE_")})
        yield Server(node.node.name, address, node.listen.direct_port, node.agent.port)


def test_haproxys_files_are_those_that_the_command_writes() -> None:
    bind = ":443 ssl crt /etc/haproxy/posthouse.pem alpn http/1.1"
    servers = tuple(each for n in (1, 2, 3) for each in workers_of(f"posthouse-{n}", f"10.0.0.1{n}"))
    assert (DEPLOY / "haproxy/haproxy.cfg").read_text() == render(HaproxyPlan(servers=servers, bind=bind))
    alone = render(HaproxyPlan(servers=TWO, stats_socket="/tmp/posthouse.sock"))
    assert (DEPLOY / "compose/haproxy.cfg").read_text() == alone


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed")
@pytest.mark.parametrize("name", ["haproxy/haproxy.cfg", "compose/haproxy.cfg"])
def test_haproxy_accepts_its_files(name: str, tmp_path: Path) -> None:
    text = (DEPLOY / name).read_text()
    text = re.sub(r"bind :443 ssl crt \S+ alpn \S+", "bind :8443", re.sub(r" node-\d:", " 127.0.0.1:", text))
    (tmp_path / "haproxy.cfg").write_text(text.replace("/run/haproxy", str(tmp_path)))
    done = subprocess.run(
        ["haproxy", "-c", "-f", tmp_path / "haproxy.cfg"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
