"""Reads the configuration: a TOML file < the environment (POSTHOUSE_ROOM_KEY) < flags; later ones win, key by key.

Nothing is guessed: an unknown key or a value of the wrong type raises `ConfigError`, which names where it stands, what
was expected and the nearest known key.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from posthouse.app.config.fields import SETS, Field, element, expected, fields, rooms
from posthouse.app.config.values import App, Config, Database, Key, Room
from posthouse.model.errors import InvalidId
from posthouse.model.ids import check_id
from posthouse.valkey.address import InvalidAddress, parse

PREFIX = "POSTHOUSE_"
_DATABASE_NAME = re.compile("[a-z0-9-]{1,32}")

R = TypeVar("R", bound=Room)


class ConfigError(ValueError):
    """The configuration cannot be used. The message is for the person who wrote it."""


class Loaded(NamedTuple):
    """The configuration, and where each of its keys that is not a default comes from."""

    config: Config
    origins: dict[str, str]


class _Setting(NamedTuple):
    value: Any
    origin: str
    textual: bool = False


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    options: Mapping[str, str] | None = None,
) -> Loaded:
    """The configuration of a node. `flags` go by dotted key (`listen.port`); those that are None were not given.

    `options` is what those who gave the flags call them, such as `--port`.
    """
    tables = _read(file) if file is not None else {}
    settings = dict(
        [
            *_of_file(tables, str(file)),
            *_of_environment(environment or {}),
            *_of_flags(flags or {}, options or {}),
        ]
    )
    made = {name: _room(room, name, settings) for name, room in rooms().items()}
    sets: dict[str, dict[str, Any]] = {
        "databases": _databases(tables.get("databases", {}), str(file)),
        "apps": _apps(tables.get("apps", {}), str(file)),
    }
    config = msgspec.structs.replace(Config(), **made, **sets)
    _check_together(config)
    origins = {key: setting.origin for key, setting in settings.items()}
    return Loaded(
        config, origins | {f"{kind}.{name}": str(file) for kind, own in sets.items() for name in own}
    )


# Sources ----------------------------------------------------------------------------------------------------------


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{file}: is nested too deeply to be a configuration") from None


def _of_file(tables: Mapping[str, Any], origin: str) -> Iterator[tuple[str, _Setting]]:
    for room, table in tables.items():
        if room not in SETS:
            _known(room, [*rooms(), *SETS], origin)
            for key, value in _table(table, room, origin).items():
                yield f"{room}.{key}", _Setting(value, origin)


def _of_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, _Setting]]:
    """Names whose second part is no room, nor nearly one, are someone else's, such as POSTHOUSE_SERVICE_HOST."""
    for name in sorted(environment):
        room, _, key = name.removeprefix(PREFIX).lower().partition("_")
        if not name.startswith(PREFIX) or not key:
            continue
        if room in rooms():
            yield f"{room}.{key}", _Setting(environment[name], f"environment {name}", textual=True)
        elif get_close_matches(room, rooms(), cutoff=0.75):
            _known(f"{room}.{key}", _all_keys(), f"environment {name}")


def _of_flags(flags: Mapping[str, object], options: Mapping[str, str]) -> Iterator[tuple[str, _Setting]]:
    for key, value in flags.items():
        if value is not None:
            _known(key, _all_keys(), "flag")
            yield key, _Setting(value, options.get(key, "flag"), textual=isinstance(value, str))


# Values -----------------------------------------------------------------------------------------------------------


def _room(room: type[Room], name: str, settings: Mapping[str, _Setting]) -> Room:
    values = {}
    for key, setting in settings.items():
        at, _, last = key.partition(".")
        if at == name:
            _known(key, _all_keys(), setting.origin)
            values[last] = _value(fields(room)[last], setting, key)
    return room(**values)


def _value(field: Field, setting: _Setting, key: str) -> Any:
    value = setting.value
    if setting.textual and element(field.type) is not None:
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        return msgspec.convert(value, field.type, strict=not setting.textual)
    except msgspec.ValidationError:
        got = "what was given" if field.masked else repr(setting.value)
        what = setting.origin if setting.origin.startswith("--") else f"{setting.origin}: {key}"
        raise ConfigError(f"{what} must be {expected(field.type)}, not {got}") from None


def _apps(tables: object, origin: str) -> dict[str, App]:
    apps = {}
    for name, table in _table(tables, "apps", origin).items():
        try:
            check_id(name, "app")
        except InvalidId as error:
            raise ConfigError(f"{origin}: apps: {error}") from None
        if name.startswith("~"):
            raise ConfigError(f"{origin}: apps: names that begin with ~ are the service's own, not {name!r}")
        apps[name] = _made(App, _table(table, f"apps.{name}", origin), f"apps.{name}", origin)
    return apps


def _databases(tables: object, origin: str) -> dict[str, Database]:
    databases = {}
    for name, table in _table(tables, "databases", origin).items():
        at = f"databases.{name}"
        if not _DATABASE_NAME.fullmatch(name):
            raise ConfigError(f"{origin}: {at}: a name has 1 to 32 small letters, digits and dashes")
        databases[name] = _made(Database, _table(table, at, origin), at, origin)
        if databases[name].url == "sqlite":
            raise ConfigError(f"{origin}: {at} needs a url, postgresql://…")
    return databases


def _made(room: type[R], table: Mapping[str, Any], path: str, origin: str) -> R:
    """A room made of one table alone. A list of tables becomes a list of rooms."""
    values = {}
    for key, value in table.items():
        _known(f"{path}.{key}", [f"{path}.{name}" for name in fields(room)], origin)
        field = fields(room)[key]
        if element(field.type) is Key and isinstance(value, list):
            at = f"{path}.{key}"
            values[key] = tuple(
                _made(Key, _table(item, f"{at}[{n}]", origin), f"{at}[{n}]", origin)
                for n, item in enumerate(value)
            )
        else:
            values[key] = _value(field, _Setting(value, origin), f"{path}.{key}")
    missing = [
        f.name for f in fields(room).values() if f.default is msgspec.NODEFAULT and f.name not in values
    ]
    if missing:
        raise ConfigError(f"{origin}: {path} lacks {' and '.join(missing)}")
    return room(**values)


def _check_together(config: Config) -> None:
    """Rules that no single value can break."""
    auth, limits = config.auth, config.limits
    if auth.token_ttl_s > auth.token_ttl_s_max:
        raise ConfigError("auth.token_ttl_s must not be above auth.token_ttl_s_max")
    if 0 < len(auth.resume_secret.encode()) < 32:
        raise ConfigError("auth.resume_secret must have at least 32 bytes, or be empty")
    if config.workers.count and config.workers.stop_timeout_s <= config.drain.window_s:
        raise ConfigError("workers.stop_timeout_s must be above drain.window_s")
    if limits.outbox_bytes_max < limits.frame_bytes_max:
        raise ConfigError("limits.outbox_bytes_max must not be below limits.frame_bytes_max")
    if config.databases and config.database != Database():
        raise ConfigError("[database] is not used where there is [databases.NAME]: remove it")
    if bool(config.tls.certificate) != bool(config.tls.key):
        given, lacking = ("certificate", "key") if config.tls.certificate else ("key", "certificate")
        raise ConfigError(f"tls.{given} is set and tls.{lacking} is not: give both, or neither")
    _check_servers(config)


def _check_servers(config: Config) -> None:
    for key, url in (("cache.url", config.cache.url), ("bus.url", config.bus.url)):
        if "://" in url:
            try:
                parse(url)
            except InvalidAddress as error:
                raise ConfigError(f"{key}: {error}") from None
    for key, url in _databases_of(config):
        try:
            urlsplit(url)
        except ValueError:
            raise ConfigError(f"{key}: is no address; write postgresql://user:password@host/name") from None
    if config.bus.url and (config.bus.url == "memory") != (config.cache.url == "memory"):
        raise ConfigError("cache.url and bus.url must both be memory, or both name servers")


def _databases_of(config: Config) -> Iterator[tuple[str, str]]:
    named = {f"databases.{name}": each for name, each in config.databases.items()}
    for at, each in ({"database": config.database} | named).items():
        yield f"{at}.url", each.url
        yield f"{at}.replicas", each.replicas


# Names ------------------------------------------------------------------------------------------------------------


def _all_keys() -> list[str]:
    return [f"{name}.{key}" for name, room in rooms().items() for key in fields(room)]


def _known(name: str, names: list[str], origin: str) -> None:
    if name in names:
        return
    last = name.rpartition(".")[2]
    same_last = [each for each in _all_keys() if each.endswith(f".{last}")]
    near = get_close_matches(name, names, n=1, cutoff=0.9) or same_last or get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"{origin}: unknown key {name}{hint}")


def _table(value: object, name: str, origin: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{origin}: {name} must be a table ([{name}]), not {value!r}")
    return value
