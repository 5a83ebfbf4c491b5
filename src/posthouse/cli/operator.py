"""How a command reaches a cluster as its operator: any node's address, and the operator's key.

Next to the data folder of a node nothing needs to be given: the address stands there, and the key follows from the
secret that is kept there or in the configuration.
"""

import asyncio
import functools
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from posthouse.cli.failure import Exit, Failure
from posthouse.cli.trust import ca_option, trust
from posthouse.kit.malformed import MALFORMED

if TYPE_CHECKING:
    import msgspec

    from posthouse.app.config import Config

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T", bound="msgspec.Struct")


class Operator(NamedTuple):
    """An operator of the cluster that the node at `address` belongs to. `tls`: whom to trust there."""

    address: str
    key: str
    tls: ssl.SSLContext | None = None

    def get(self, path: str, answer: type[T]) -> T:
        """What `GET /v1/cluster/PATH` answers. Raises `Failure`."""
        return asyncio.run(self._ask("GET", path, answer, None))

    def post(self, path: str, body: "msgspec.Struct", answer: type[T]) -> T:
        """What `POST /v1/cluster/PATH` answers. Raises `Failure`."""
        return asyncio.run(self._ask("POST", path, answer, body))

    async def _ask(self, method: str, path: str, answer: type[T], body: "msgspec.Struct | None") -> T:
        import msgspec

        from posthouse.api.errors import Problem
        from posthouse.cli.reach import probe
        from posthouse.client.endpoints import parse_address
        from posthouse.client.http import Http

        await probe(self.address)
        http = Http(self.tls)
        try:
            url = f"{parse_address(self.address).api}/v1/cluster/{path}"
            raw = None if body is None else msgspec.json.encode(body)
            reply = await http.ask(method, url, {"X-Operator-Key": self.key}, raw)
        finally:
            await http.close()
        if reply.status == 200:
            return msgspec.json.decode(reply.body, type=answer)
        try:
            reason = msgspec.json.decode(reply.body, type=Problem).reason
        except MALFORMED:
            reason = f"{self.address} answers {reply.status}, as no node of Posthouse does"
        todo = "Give the cluster's --key, or run this in a node's own folder." if reply.status == 401 else ""
        exit_code = Exit.UNAUTHORIZED if reply.status == 401 else Exit.FAILED
        raise Failure(f"{reason[:1].upper()}{reason[1:]}.", todo, exit_code)


def operating(command: F) -> F:
    """Give a command the options that say which cluster and with what key; it gets them as `operator`."""

    @functools.wraps(command)
    def resolved(
        address: str, key: str, data: str | None, config_file: str | None, ca: str, **others: Any
    ) -> Any:
        return command(operator=resolve(address, key, data, config_file, ca), **others)

    decorated: Any = resolved
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]  # click's decorators keep what they are given


_OPTIONS = (
    click.option(
        "--address",
        metavar="URL",
        default="",
        envvar="POSTHOUSE_ADDRESS",
        show_envvar=True,
        help="Any node of the cluster.  [default: the data folder's]",
    ),
    click.option(
        "--key",
        metavar="KEY",
        default="",
        envvar="POSTHOUSE_KEY",
        show_envvar=True,
        help="The operator's key.  [default: the one that the data folder's secret makes]",
    ),
    click.option("--data", metavar="FOLDER", help="A node's data folder.  [default: ./posthouse-data]"),
    click.option("--config", "config_file", metavar="FILE", help="A node's configuration file."),
    ca_option,
)


def resolve(address: str, key: str, data: str | None, config_file: str | None, ca: str = "") -> Operator:
    """Complete what was asked. Raises `Failure` when nothing here makes a key."""
    from posthouse.cli.issuing import node_config
    from posthouse.cli.reach import address_of

    config = node_config(data, config_file)
    folder = Path(config.data.folder)
    return Operator(address or address_of(folder), key or key_of(config), trust(ca, address, folder))


def key_of(config: "Config") -> str:
    """The key that a node's configuration or data folder makes. Raises `Failure` where there is none."""
    from posthouse.app.secrets import SecretsError, load
    from posthouse.auth.operators import operator_key

    if config.auth.resume_secret:
        return operator_key(config.auth.resume_secret)
    folder = Path(config.data.folder)
    try:
        return operator_key(load(folder).resume_secret)
    except SecretsError:
        raise Failure(
            f"There is no key for operators in {os.path.relpath(folder)}.",
            "Run this in a node's folder, name its data folder with --data, or give --key.",
            Exit.UNAUTHORIZED,
        ) from None
