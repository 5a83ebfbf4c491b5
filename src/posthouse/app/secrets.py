"""Keys that nobody had to choose: generated into the data folder on the first start, read ever after.

The file appears whole or not at all, readable by its owner only; of two processes that start at once, one makes it
and both use it. It is never overwritten.
"""

import os
import secrets as chance
from pathlib import Path

import msgspec

from posthouse.app.config import Config, Key
from posthouse.auth.keys import Algorithm, AppKeys, SigningKey, api_key_hash, new_api_key, new_secret
from posthouse.kit.malformed import MALFORMED

DEFAULT_APP = "default"
FILE = "secrets.json"


class SecretsError(Exception):
    """The file of secrets cannot be read or written; the message says what to do."""


class Secrets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file holds: the key and API key of the app `default`, and the secret of resume tokens."""

    version: int = 1
    kid: str
    secret: str
    api_key: str
    resume_secret: str

    def __repr__(self) -> str:
        return f"<Secrets kid={self.kid!r}>"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What `auth` is given: each app's keys, and the secret that signs resume tokens."""

    apps: dict[str, AppKeys]
    resume_secret: str

    def __repr__(self) -> str:
        return f"<Credentials of {sorted(self.apps)}>"


def credentials(config: Config) -> Credentials:
    """The keys that `config` names, and generated ones for those it leaves out. Raises `SecretsError`."""
    folder = Path(config.data.folder)
    generated = None
    if not (config.apps and config.auth.resume_secret):
        _check_not_alone(config, folder)
        generated = load_or_create(folder)
    apps = {name: _configured(app.keys, app.api_key_hashes) for name, app in config.apps.items()}
    if generated is not None and not apps:
        apps = {DEFAULT_APP: _default_app(generated)}
    resume_secret = config.auth.resume_secret or (generated.resume_secret if generated is not None else "")
    return Credentials(apps=apps, resume_secret=resume_secret)


def _check_not_alone(config: Config, folder: Path) -> None:
    """Keys that each node makes for itself would make the clients of one node strangers to the next."""
    if config.cache.url != "memory" and not (folder / FILE).exists():
        raise SecretsError(
            f"{folder / FILE}: missing, and not generated: with cache.url this node is one of several, which must all "
            "have the same keys: set auth.resume_secret and [apps.NAME] in the configuration of all of them, or copy "
            f"{FILE} of one node into the data folder of each"
        )


def load_or_create(folder: Path) -> Secrets:
    """The secrets in `folder`, which is made with them when they are missing. Raises `SecretsError`."""
    path = folder / FILE
    try:
        if not path.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_new(path, _generated())
        return load(folder)
    except OSError as error:
        raise SecretsError(
            f"{path}: {error.strerror}; the data folder must be readable and writable"
        ) from None


def load(folder: Path) -> Secrets:
    """The secrets in `folder`. Raises `SecretsError`, also when there are none yet."""
    path = folder / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Secrets)
    except OSError as error:
        raise SecretsError(
            f"{path}: {error.strerror}; was the server ever started with this data folder?"
        ) from None
    except MALFORMED as error:
        raise SecretsError(f"{path}: is damaged ({error}); restore it from a backup") from None


def _generated() -> Secrets:
    return Secrets(
        kid=f"k-{chance.token_hex(4)}", secret=new_secret(), api_key=new_api_key(), resume_secret=new_secret()
    )


def _write_new(path: Path, made: Secrets) -> None:
    """Durably, under its final name only when complete, and only if nobody was faster."""
    partial = path.with_name(f".{FILE}.{os.getpid()}.{chance.token_hex(4)}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)
    except FileExistsError:
        return
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)
    _sync_folder(path.parent.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _configured(keys: tuple[Key, ...], hashes: tuple[str, ...]) -> AppKeys:
    signing = tuple(
        SigningKey(
            kid=key.kid,
            algorithm=Algorithm(key.alg),
            secret=key.secret,
            public_key=key.public_key,
            private_key=key.private_key,
            retired=key.retired,
        )
        for key in keys
    )
    return AppKeys(signing=signing, api_key_hashes=hashes)


def _default_app(made: Secrets) -> AppKeys:
    key = SigningKey(kid=made.kid, algorithm=Algorithm.HS256, secret=made.secret)
    return AppKeys(signing=(key,), api_key_hashes=(api_key_hash(made.api_key),))
