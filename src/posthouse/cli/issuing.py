"""Access tokens made on the spot, with the keys of the data folder or of the configuration, as a server makes them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from posthouse.cli.failure import Exit, Failure

if TYPE_CHECKING:
    from posthouse.app.config import Config
    from posthouse.auth.keys import AppKeys

NOT_NEEDED = "not needed to make access tokens"
"""In place of the resume tokens' secret: keeps `credentials` from making a data folder for it."""


class Issued(NamedTuple):
    """A token, and when it ends in seconds since 1970."""

    token: str
    expires_s: int


class Issuer:
    """Makes tokens for one app."""

    def __init__(self, config: "Config", app: str = "") -> None:
        """`app` empty: the only one there is. Raises `Failure` when there are no keys to sign with."""
        from posthouse.auth.tokens import TokenIssuer

        keys = app_keys(config)
        self.app = app or _only(keys)
        if self.app not in keys:
            raise Failure(
                f"There is no app {self.app!r}.", f"There is: {', '.join(sorted(keys))}.", Exit.USAGE
            )
        self._issuer = TokenIssuer({self.app: keys[self.app]})
        self.ttl_s_max = config.auth.token_ttl_s_max
        if not self._issuer.can_issue(self.app):
            raise Failure(
                f"The app {self.app!r} signs its tokens itself; no key to sign with is here.",
                "Get a token from its back end and give it with --token.",
                Exit.UNAUTHORIZED,
            )

    def issue(self, user: str, now_s: int, ttl_s: int, device: str = "") -> Issued:
        """A token for `user`, good for `ttl_s` seconds. Raises `InvalidId` for a user or device that cannot be."""
        if ttl_s > self.ttl_s_max:
            raise Failure(
                f"A token may live for at most {self.ttl_s_max} s here, not {ttl_s} s.",
                "auth.token_ttl_s_max in the configuration says so; the server would refuse it.",
                Exit.USAGE,
            )
        return Issued(
            self._issuer.issue(self.app, user, now_s=now_s, ttl_s=ttl_s, device=device), now_s + ttl_s
        )


def node_config(data: str | None = None, config_file: str | None = None) -> "Config":
    """The configuration that `posthouse up` would use here, for its keys and its data folder."""
    from posthouse.app.config import load

    file = Path(config_file) if config_file else None
    return load(file, os.environ, {"data.folder": data}, {"data.folder": "--data"}).config


def app_keys(config: "Config") -> "Mapping[str, AppKeys]":
    """The keys of every app. Makes none: raises `Failure` where `posthouse up` would still have to."""
    import msgspec

    from posthouse.app.secrets import FILE, credentials

    folder = Path(config.data.folder)
    if not config.apps and not (folder / FILE).exists():
        raise Failure(
            f"There are no keys in {folder}, so no token can be made.",
            "Start a server here with `posthouse up`, name the data folder of one with --data, or give --token.",
            Exit.UNAUTHORIZED,
        )
    auth = msgspec.structs.replace(config.auth, resume_secret=NOT_NEEDED)
    return credentials(msgspec.structs.replace(config, auth=auth)).apps


def _only(keys: "Mapping[str, AppKeys]") -> str:
    if len(keys) > 1:
        raise Failure(
            "There are several apps.", f"Name one with --app: {', '.join(sorted(keys))}.", Exit.USAGE
        )
    return next(iter(keys))
