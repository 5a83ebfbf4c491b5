"""Writes the configuration as TOML: what is in force, with secrets masked, and a sample that explains every key.

Both are made from the types, so they cannot go stale, and both can be read back.
"""

import re
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

import tomli_w

from posthouse.app.config.fields import Field, fields, rooms
from posthouse.app.config.values import App, Config, Database, Key, Room

MASK = "********"
LINE_CHARS_MAX = 100

_HEAD = """\
# The configuration of a Posthouse node. Every key is shown with its default; remove the "# " before one to change it.
# A variable of the environment wins over this file: listen.port is POSTHOUSE_LISTEN_PORT. A flag wins over both.
"""

_EXAMPLES = {"kid": "2026-01", "alg": "HS256", "secret": "openssl rand -base64 48"}
"""The secret is how one is made, and too short to be taken for one."""


def render(config: Config, origins: Mapping[str, str] | None = None) -> str:
    """What is in force, as TOML with masked secrets; beside each key where it comes from, unless it is the default."""
    blocks = ["\n".join(_room_lines(name, getattr(config, name), origins or {})) for name in rooms()]
    blocks += ["\n".join(_database_lines(name, own)) for name, own in config.databases.items()]
    blocks += ["\n".join(_app_lines(name, app)) for name, app in config.apps.items()]
    return "\n\n".join(blocks) + "\n"


def sample() -> str:
    """A file that changes nothing and says what each key would bring about."""
    blocks = [_HEAD, *("\n".join(_sample_lines(name, room)) for name, room in rooms().items())]
    blocks += ["\n".join(_sample_database_lines()), "\n".join(_sample_app_lines())]
    return "\n".join(blocks) + "\n"


def _room_lines(name: str, room: Room, origins: Mapping[str, str]) -> Iterator[str]:
    yield f"[{name}]"
    for field in fields(type(room)).values():
        origin = origins.get(f"{name}.{field.name}")
        yield _line(field, getattr(room, field.name)) + (f"  # {_one_line(origin)}" if origin else "")


def _database_lines(name: str, database: Database) -> Iterator[str]:
    yield f"[databases.{name}]"
    yield from (_line(field, getattr(database, field.name)) for field in fields(Database).values())


def _app_lines(name: str, app: App) -> Iterator[str]:
    quoted = _toml(name)
    yield f"[apps.{quoted}]"
    yield _line(fields(App)["api_key_hashes"], app.api_key_hashes)
    for key in app.keys:
        yield f"\n[[apps.{quoted}.keys]]"
        yield from (_line(field, getattr(key, field.name)) for field in fields(Key).values())


def _sample_lines(name: str, room: type[Room]) -> Iterator[str]:
    yield from _comment(_meaning(room))
    yield f"[{name}]"
    yield from (line for field in fields(room).values() for line in _explained(field, field.default))
    yield ""


def _sample_database_lines() -> Iterator[str]:
    """The keys are those of [database]: an example shows only the one that must be there."""
    yield from _comment(fields(Config)["databases"].description)
    yield "# [databases.main]"
    yield '# url = "postgresql://posthouse:password@host1,host2,host3/posthouse"'
    yield ""


def _sample_app_lines() -> Iterator[str]:
    """Apps have no defaults: an example stands in their place."""
    yield from _comment(f"{_meaning(App)} {fields(Config)['apps'].description}")
    yield "# [apps.example]"
    yield from _explained(fields(App)["api_key_hashes"], ())
    yield ""
    yield from _comment(fields(App)["keys"].description)
    yield "# [[apps.example.keys]]"
    for field in fields(Key).values():
        yield from _explained(field, _EXAMPLES.get(field.name, field.default))


def _explained(field: Field, value: Any) -> Iterator[str]:
    yield ""
    yield from _comment(field.description)
    yield f"# {field.name} = {_toml(value)}"


def _line(field: Field, value: Any) -> str:
    return f"{field.name} = {_toml(_masked(field, value))}"


def _masked(field: Field, value: Any) -> Any:
    if field.masked == "url":
        hidden = re.sub(r"://([^/:@]*):.*@", rf"://\1:{MASK}@", value)
        return re.sub(r"\b(password=)[^&]*", rf"\1{MASK}", hidden)
    return MASK if field.masked and value else value


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return tomli_w.dumps({"_": value}).removeprefix("_ = ").rstrip("\n")


def _meaning(room: type[Room]) -> str:
    return " ".join((room.__doc__ or "").split())


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in wrap(text, LINE_CHARS_MAX - 2)]


def _one_line(text: str) -> str:
    return text if text.isprintable() else repr(text)
