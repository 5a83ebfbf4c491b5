"""`posthouse up --workers N`: what a supervisor is given, and what keeps several workers from being started."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from posthouse.cli.failure import Failure

if TYPE_CHECKING:
    from posthouse.app.config import Config

FLAGS = {
    "listen.host": "--host",
    "data.folder": "--data",
    "database.url": "--database",
    "tls.certificate": "--tls-certificate",
    "tls.key": "--tls-key",
    "log.level": "--log-level",
}
"""What is passed on to every worker as it was given; the rest comes from the file and the environment."""


def supervise(
    config: "Config", file: Path | None, flags: Mapping[str, object], on_ready: Callable[[int], None]
) -> None:
    """Run the workers until they are told to stop. `on_ready` is given the port that all of them serve."""
    from posthouse.app.lock import FolderLock
    from posthouse.app.supervisor import GaveUp, Start, Supervisor, environment_of, hold_port
    from posthouse.cli.listening import explained
    from posthouse.health.crew import CrewRule
    from posthouse.kit.log import configure

    _check(config)
    configure(config.log.level, worker="supervisor")
    lock = FolderLock(Path(config.data.folder))
    lock.acquire()
    try:
        held = hold_port(config.listen.host, config.listen.port)
    except OSError as error:
        raise explained(error, config) from error
    port = held.getsockname()[1]
    given = [part for key, flag in FLAGS.items() if flags.get(key) for part in (flag, str(flags[key]))]
    common = [*_program(), "up", "--port", str(port), *given, *(["--config", str(file)] if file else [])]
    name = _name(config, port)

    def how(number: int, line: int, why: str) -> Start:
        own = ["--worker", str(number), "--line", str(line), "--because", why]
        direct_port = port + number if config.workers.count > 1 else 0
        environment = environment_of(number, name, direct_port, config.agent.port)
        return Start([*common, *own], environment)

    workers = config.workers
    rule = CrewRule(
        hung_s=workers.hung_after_s,
        start_s=workers.start_timeout_s,
        stop_s=workers.stop_timeout_s,
        in_turn=workers.stop == "in-turn",
    )
    try:
        Supervisor(workers.count, rule, how, on_ready).run()
    except GaveUp as error:
        text = str(error)
        raise Failure(f"{text[:1].upper()}{text[1:]}.", "What kept it from starting is told above.") from None
    finally:
        held.close()
        lock.release()


def _check(config: "Config") -> None:
    """Several workers are several nodes: what they keep, they must share."""
    lacking = []
    if config.database.url == "sqlite" and not getattr(config, "databases", None):
        lacking.append("a PostgreSQL (database.url, or --database)")
    if config.cache.url == "memory":
        lacking.append("a Redis or Valkey (cache.url)")
    if config.workers.count > 1 and lacking:
        raise Failure(
            f"{config.workers.count} workers need {' and '.join(lacking)} that they share.",
            "Configure that, or run one worker: --workers 1.",
        )
    if (
        config.workers.count > 1
        and config.listen.public_url.startswith("https:")
        and not config.tls.certificate
    ):
        raise Failure(
            f"listen.public_url {config.listen.public_url} leads to any of {config.workers.count} workers, whose own"
            " ports speak no TLS.",
            "Name the balancer that ends TLS as listen.front_url instead, or set tls.certificate and tls.key.",
        )


def _program() -> list[str]:
    return [sys.executable, "-m", "posthouse"]


def _name(config: "Config", port: int) -> str:
    return config.node.name or f"{os.uname().nodename}-{port}"
