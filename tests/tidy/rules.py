"""The rules of the house that no linter knows: each maps one source file to what breaks the rule there.

A message says what to write instead. A rule about calls follows imports and aliases, so renaming does not hide one.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.tidy.source import Source

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
DOCSTRING_LINES_MAX = 5
POLL_PAUSE_S_MAX = 0.05

WORDS_THAT_SAY_NOTHING = {"utils", "util", "common", "helpers", "helper", "manager", "managers", "misc"}

# Tests of the whole service or of the repository rather than of one room.
TESTS_BESIDE_ROOMS = {"bench", "docs", "fuzz", "guarantees", "security", "service", "spec", "tidy"}

# What a pure module must be given instead of reaching for.
IMPURE = {"asyncio", "os", "random", "secrets", "select", "socket", "subprocess", "threading", "time", "uuid"}

# Vendor → the rooms or modules that may name it; everyone else sees it through a type of ours.
VENDORS = {
    "hiredis": {"valkey", "testing", "bench"},
    "redis": {"testing", "bench"},
    "apsw": {"engines", "testing", "bench"},
    "asyncpg": {"engines", "testing", "bench"},
    "picows": {"gateway", "client", "testing", "bench"},
    "jwt": {"auth", "testing"},
    "click": {"cli"},
    "rich": {"cli"},
}


@dataclass(frozen=True)
class Finding:
    """One breach. `place` names it on the ratchet; `size` is what must not grow there."""

    rule: str
    place: str
    line: int
    size: int
    message: str


Rule = Callable[[Source], Iterator[Finding]]


@dataclass(frozen=True)
class Ban:
    """A name nobody uses outside `free` (path prefixes inside the package), and what to use instead."""

    rule: str
    instead: str
    free: tuple[str, ...]


_CLOCK = ("kit/", "app/")
_NOW_MS = Ban("clock", "call `now_ms()` of a `posthouse.kit.clock.Clock` passed in as an argument", _CLOCK)
_MONOTONIC = Ban(
    "clock", "call `monotonic()` of a `posthouse.kit.clock.Clock` passed in as an argument", _CLOCK
)
_SLEEP = Ban("clock", "await `sleep()` of a `posthouse.kit.clock.Clock` passed in as an argument", _CLOCK)
_RANDOM = Ban("randomness", "take a `random.Random` as an argument, so that a seed replays the run", _CLOCK)
_SECRET = Ban(
    "randomness", "take the bytes as an argument; `auth` and `app` draw secrets", (*_CLOCK, "auth/")
)
_TASK = Ban(
    "stray-task",
    "start it with `posthouse.kit.tasks` (or a TaskGroup), so that its failure is seen and its end awaited",
    ("kit/tasks.py",),
)

BANS = {
    **dict.fromkeys(("time.time", "time.time_ns"), _NOW_MS),
    **dict.fromkeys((f"datetime.datetime.{call}" for call in ("now", "utcnow", "today")), _NOW_MS),
    "datetime.date.today": _NOW_MS,
    **dict.fromkeys(("time.monotonic", "time.monotonic_ns", "loop.time"), _MONOTONIC),
    **dict.fromkeys(("time.perf_counter", "time.perf_counter_ns"), _MONOTONIC),
    **dict.fromkeys(("time.sleep", "asyncio.sleep"), _SLEEP),
    **dict.fromkeys(("os.urandom", "random.SystemRandom", "uuid.uuid1", "uuid.uuid4"), _SECRET),
    **dict.fromkeys((f"secrets.{call}" for call in ("token_bytes", "token_hex", "token_urlsafe")), _SECRET),
    **dict.fromkeys(
        ("secrets.choice", "secrets.randbelow", "secrets.randbits", "secrets.SystemRandom"), _SECRET
    ),
    **dict.fromkeys(("asyncio.create_task", "asyncio.ensure_future", "loop.create_task"), _TASK),
    "logging.getLogger": Ban("stray-logger", "use the logger of `posthouse.kit.log`", ("kit/log.py",)),
    "print": Ban("print", "return the value; only `posthouse.cli` writes to the terminal", ("cli/",)),
}


def function_length(source: Source) -> Iterator[Finding]:
    for name, node in source.functions():
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            message = (
                f"`{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}: split it where it changes subject"
            )
            yield Finding("function-length", f"{source.path}:{name}", node.lineno, lines, message)


def file_length(source: Source) -> Iterator[Finding]:
    if source.lines > FILE_LINES_MAX:
        message = (
            f"{source.lines} lines, at most {FILE_LINES_MAX}: move one of its jobs to a module of its own"
        )
        yield Finding("file-length", str(source.path), 1, source.lines, message)


def module_docstring(source: Source) -> Iterator[Finding]:
    if not source.text.strip():
        return
    lines = sum(1 for line in source.docstring.splitlines() if line.strip())
    if 1 <= lines <= DOCSTRING_LINES_MAX:
        return
    message = (
        f"{lines or 'no'} lines of module docstring: open with 1 to {DOCSTRING_LINES_MAX} that say "
        "what the module is for, how it runs concurrently and what it keeps true"
    )
    yield Finding("module-docstring", str(source.path), 1, max(lines, 1), message)


def module_name(source: Source) -> Iterator[Finding]:
    words = {word for part in source.path.with_suffix("").parts for word in part.split("_")}
    for word in sorted(words & WORDS_THAT_SAY_NOTHING):
        message = (
            f"`{word}` in a path says nothing: name the thing it holds, or put the code where it is used"
        )
        yield Finding("empty-name", str(source.path), 1, 1, message)


def class_name(source: Source) -> Iterator[Finding]:
    for node in source.nodes:
        if isinstance(node, ast.ClassDef):
            words = {word.lower() for word in re.findall(r"[A-Z][a-z0-9]*", node.name)}
            for word in sorted(words & WORDS_THAT_SAY_NOTHING):
                message = f"class `{node.name}`: `{word}` says nothing; name what it is or what it decides"
                yield Finding("empty-name", f"{source.path}:{node.name}", node.lineno, 1, message)


def banned_names(source: Source) -> Iterator[Finding]:
    """Calls and mere mentions of `BANS` (`default_factory=time.time` counts); `asyncio.sleep(0)` only yields."""
    if not source.in_package:
        return
    yields = {id(node.func) for node in source.nodes if isinstance(node, ast.Call) and _is_zero(node.args)}
    for node in source.nodes:
        name = _dotted(node, source.imported)
        ban = _ban_of(name) if name else None
        if (
            ban is None
            or str(source.place).startswith(ban.free)
            or (name == "asyncio.sleep" and id(node) in yields)
        ):
            continue
        message = f"`{name}`: {ban.instead} (allowed in {', '.join(ban.free)})"
        yield Finding(ban.rule, str(source.path), _line(node), 1, message)


def unseeded_random(source: Source) -> Iterator[Finding]:
    for node in source.nodes if source.in_package and not str(source.place).startswith(_CLOCK) else ():
        unseeded = isinstance(node, ast.Call) and not node.args and not node.keywords
        if unseeded and isinstance(node, ast.Call) and _dotted(node.func, source.imported) == "random.Random":
            yield Finding(
                "randomness", str(source.path), node.lineno, 1, f"`random.Random()`: {_RANDOM.instead}"
            )


def broad_except(source: Source) -> Iterator[Finding]:
    """A handler that raises again, or hands the error to the future of whoever waits, hides nothing."""
    if not source.in_package or str(source.place) == "kit/tasks.py":
        return
    for node in source.nodes:
        caught = _broadly_caught(node, source.imported)
        if caught:
            message = (
                f"{caught}: name the errors that can come here, or let them rise to `posthouse.kit.tasks`"
            )
            yield Finding("broad-except", str(source.path), _line(node), 1, message)


def unfinished(source: Source) -> Iterator[Finding]:
    for line, comment in source.comments():
        mark = re.search(r"\b(TODO|FIXME|XXX|HACK)\b", comment)
        if mark:
            message = f"`{mark[1]}`: do it now, or file an issue and delete the comment"
            yield Finding("unfinished", str(source.path), line, 1, message)


def vendor_import(source: Source) -> Iterator[Finding]:
    if not source.in_package:
        return
    here = set(source.place.with_suffix("").parts)
    for line, module in source.imports():
        vendor = module.partition(".")[0]
        if vendor in VENDORS and not here & VENDORS[vendor]:
            message = (
                f"`{vendor}` is named only in {', '.join(sorted(VENDORS[vendor]))}: use our own type for it"
            )
            yield Finding("vendor-import", str(source.path), line, 1, message)


def purity_claim(source: Source) -> Iterator[Finding]:
    """A module whose docstring says it is pure must be. (Pure rooms as a whole: the contracts in pyproject.toml.)"""
    if not source.in_package or not re.search(r"\b[Pp]ure\b", source.docstring):
        return
    for line, module in source.imports():
        if module.partition(".")[0] in IMPURE:
            message = (
                f"the docstring says pure, yet it imports `{module}`: take what you need of it as an argument"
            )
            yield Finding("purity", str(source.path), line, 1, message)


def long_sleep_in_test(source: Source) -> Iterator[Finding]:
    """A pause while polling a real server is short; waiting for time to pass is the virtual clock's work."""
    if source.path.parts[0] != "tests" or source.path.parts[1] in TESTS_BESIDE_ROOMS:
        return
    for node in source.nodes:
        if isinstance(node, ast.Call) and _dotted(node.func, source.imported) in (
            "time.sleep",
            "asyncio.sleep",
        ):
            pause_s = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            if isinstance(pause_s, int | float) and pause_s > POLL_PAUSE_S_MAX:
                message = (
                    f"{pause_s} s: use `kit.clock.ManualClock`, or poll every {POLL_PAUSE_S_MAX} s at most"
                )
                yield Finding("long-sleep", str(source.path), node.lineno, 1, message)


RULES: tuple[Rule, ...] = (
    function_length,
    file_length,
    module_docstring,
    module_name,
    class_name,
    banned_names,
    unseeded_random,
    broad_except,
    unfinished,
    vendor_import,
    purity_claim,
    long_sleep_in_test,
)


def findings_in(source: Source) -> list[Finding]:
    """What every rule says of one file."""
    return [finding for rule in RULES for finding in rule(source)]


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 1)


def _is_zero(arguments: list[ast.expr]) -> bool:
    return len(arguments) == 1 and isinstance(arguments[0], ast.Constant) and arguments[0].value == 0


def _ban_of(name: str) -> Ban | None:
    """`random.shuffle` and its like are banned as a family: all of the module's functions share one hidden state."""
    is_function_of_random = re.fullmatch(r"random\.[a-z]\w*", name)
    return _RANDOM if is_function_of_random else BANS.get(name)


def _dotted(node: ast.AST, imported: dict[str, str]) -> str | None:
    """The full name a name or attribute stands for; an event loop, however it was obtained, is `loop`."""
    if isinstance(node, ast.Name):
        return "print" if node.id == "print" else imported.get(node.id) or _loop_name(node.id)
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, imported)
        return f"{owner}.{node.attr}" if owner else _loop_name(node.attr)
    if isinstance(node, ast.Call):
        called = _dotted(node.func, imported)
        return "loop" if called in ("asyncio.get_running_loop", "asyncio.get_event_loop") else None
    return None


def _loop_name(name: str) -> str | None:
    return "loop" if name in ("loop", "_loop") else None


def _broadly_caught(node: ast.AST, imported: dict[str, str]) -> str | None:
    if isinstance(node, ast.ExceptHandler):
        if _passes_on(node):
            return None
        return "bare `except:`" if node.type is None else _broad_name("except", node.type)
    if isinstance(node, ast.Call) and _dotted(node.func, imported) == "contextlib.suppress":
        return next((name for name in (_broad_name("suppress", each) for each in node.args) if name), None)
    return None


def _passes_on(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    reraised = isinstance(last, ast.Raise) and last.exc is None
    calls = (node for node in ast.walk(handler) if isinstance(node, ast.Call))
    handed_on = any(
        isinstance(call.func, ast.Attribute) and call.func.attr == "set_exception" for call in calls
    )
    return reraised or handed_on


def _broad_name(keyword: str, caught: ast.expr) -> str | None:
    for each in caught.elts if isinstance(caught, ast.Tuple) else (caught,):
        if isinstance(each, ast.Name) and each.id in ("Exception", "BaseException"):
            return f"`{keyword} {each.id}`"
    return None
