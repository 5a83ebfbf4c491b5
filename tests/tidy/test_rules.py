"""Each rule of the house fires on code that breaks it, and leaves alone the code that looks similar."""

from pathlib import PurePosixPath

import pytest

from tests.tidy.rules import FILE_LINES_MAX, FUNCTION_LINES_MAX, RULES, Finding, findings_in
from tests.tidy.source import Source

DOC = '"""What it is for."""\n'

# Code that breaks exactly one rule inside src/posthouse/storage/append.py, and that rule.
BREACHES = [
    ("import time\nnow = time.time()", "clock"),
    ("import time\nnow = time.time_ns()", "clock"),
    ("import time as t\nnow = t.monotonic()", "clock"),
    ("from time import perf_counter\nread = perf_counter", "clock"),
    ("def f():\n    import time\n    time.sleep(1)", "clock"),
    ("from asyncio import sleep\nasync def f():\n    await sleep(1)", "clock"),
    ("import asyncio\nasync def f():\n    return asyncio.get_running_loop().time()", "clock"),
    ("class A:\n    def f(self):\n        return self._loop.time()", "clock"),
    ("from datetime import UTC, datetime\nnow = datetime.now(UTC)", "clock"),
    ("import datetime as dt\nnow = dt.datetime.utcnow()", "clock"),
    ("import random\nn = random.random()", "randomness"),
    ("from random import shuffle\nshuffle([])", "randomness"),
    ("import random\nr = random.Random()", "randomness"),
    ("import random\nr = random.SystemRandom()", "randomness"),
    ("import uuid\nu = uuid.uuid4()", "randomness"),
    ("import os\nu = os.urandom(8)", "randomness"),
    ("import secrets\nu = secrets.token_hex()", "randomness"),
    ("import asyncio\ndef f(work):\n    asyncio.create_task(work)", "stray-task"),
    ("import asyncio\ndef f(work):\n    asyncio.ensure_future(work)", "stray-task"),
    ("def f(loop, work):\n    loop.create_task(work)", "stray-task"),
    ("import asyncio\ndef f(work):\n    asyncio.get_running_loop().create_task(work)", "stray-task"),
    ("import logging\nlog = logging.getLogger()", "stray-logger"),
    ("print(1)", "print"),
    ("try:\n    f()\nexcept:\n    pass", "broad-except"),
    ("try:\n    f()\nexcept Exception:\n    pass", "broad-except"),
    ("try:\n    f()\nexcept (OSError, BaseException) as e:\n    raise ValueError from e", "broad-except"),
    ("import contextlib\nwith contextlib.suppress(Exception):\n    f()", "broad-except"),
    ("class SessionManager:\n    pass", "empty-name"),
    ("# TODO: later", "unfinished"),
    ("x = 1  # FIXME", "unfinished"),
    ("import rich", "vendor-import"),
    ("from picows import WSListener", "vendor-import"),
    ("import apsw", "vendor-import"),
]

SOUND = [
    "import time\ntime.strftime('%Y')",
    "import asyncio\nasync def f():\n    await asyncio.sleep(0)",
    "def f(clock):\n    return clock.now_ms(), clock.time()",
    "import random\ndef f(chance: random.Random):\n    return chance.random()",
    "import random\nr = random.Random(7)",
    "import asyncio\nasync def f(g: asyncio.TaskGroup, work):\n    g.create_task(work)",
    "try:\n    f()\nexcept OSError:\n    pass",
    "try:\n    f()\nexcept BaseException:\n    undo()\n    raise",
    "try:\n    f()\nexcept Exception as e:\n    future.set_exception(e)",
    "def blueprint():\n    pass\nblueprint()",
    "mark = 'TODO'",
    "class Commonwealth:\n    pass",
]


def breaches_of(text: str, path: str = "src/posthouse/storage/append.py") -> list[Finding]:
    return findings_in(Source(PurePosixPath(path), text))


def rules_broken(text: str, path: str = "src/posthouse/storage/append.py") -> set[str]:
    return {finding.rule for finding in breaches_of(text, path)}


@pytest.mark.parametrize(("code", "rule"), BREACHES)
def test_a_breach_is_found_and_nothing_else_is(code: str, rule: str) -> None:
    assert rules_broken(DOC + code + "\n") == {rule}


@pytest.mark.parametrize("code", SOUND)
def test_sound_code_that_looks_similar_is_left_alone(code: str) -> None:
    assert breaches_of(DOC + code + "\n") == []


def function_of(lines: int) -> str:
    return "def f():\n" + "    x = 1\n" * (lines - 1)


def test_a_function_may_reach_the_limit_but_not_pass_it() -> None:
    assert breaches_of(DOC + function_of(FUNCTION_LINES_MAX)) == []
    (finding,) = breaches_of(DOC + function_of(FUNCTION_LINES_MAX + 1))
    assert (finding.rule, finding.size) == ("function-length", FUNCTION_LINES_MAX + 1)
    assert finding.place == "src/posthouse/storage/append.py:f"


def test_a_long_method_is_named_with_its_class() -> None:
    method = function_of(FUNCTION_LINES_MAX + 1).replace("    ", "        ").replace("def", "    async def")
    (finding,) = breaches_of(f"{DOC}class Session:\n{method}")
    assert finding.place.endswith(":Session.f")


def test_a_file_may_reach_the_limit_but_not_pass_it() -> None:
    assert breaches_of(DOC + "x = 1\n" * (FILE_LINES_MAX - 1)) == []
    assert rules_broken(DOC + "x = 1\n" * FILE_LINES_MAX) == {"file-length"}


@pytest.mark.parametrize("lines", [0, 6])
def test_a_module_opens_with_one_to_five_lines(lines: int) -> None:
    docstring = '"""' + "About it.\n" * lines + '"""\n'
    assert rules_broken(docstring + "x = 1\n") == {"module-docstring"}


def test_blank_lines_in_a_module_docstring_do_not_count_and_an_empty_file_needs_none() -> None:
    assert breaches_of('"""Subject.\n\nOne.\n\nTwo.\n"""\n') == []
    assert breaches_of("", "src/posthouse/storage/__init__.py") == []


@pytest.mark.parametrize(
    "path", ["src/posthouse/utils/text.py", "src/posthouse/kit/time_helpers.py", "tests/common.py"]
)
def test_a_path_that_says_nothing_is_refused(path: str) -> None:
    assert rules_broken(DOC, path) == {"empty-name"}


@pytest.mark.parametrize(
    ("code", "path"),
    [
        ("import time\nnow = time.time()", "src/posthouse/kit/clock.py"),
        ("import random\nr = random.Random()", "src/posthouse/app/build.py"),
        ("import asyncio\nasyncio.create_task(f())", "src/posthouse/kit/tasks.py"),
        ("try:\n    f()\nexcept Exception:\n    pass", "src/posthouse/kit/tasks.py"),
        ("import logging\nlog = logging.getLogger()", "src/posthouse/kit/log.py"),
        ("import secrets\nkey = secrets.token_bytes(32)", "src/posthouse/auth/keys.py"),
        ("import click\nprint(1)", "src/posthouse/cli/chat.py"),
        ("import apsw", "src/posthouse/storage/engines/sqlite.py"),
        ("import time\nprint(time.time())", "bench/fanout.py"),
        ("import asyncio\ntask = asyncio.create_task(f())", "tests/storage/test_append.py"),
    ],
)
def test_what_a_place_is_for_is_allowed_there(code: str, path: str) -> None:
    assert breaches_of(DOC + code + "\n", path) == []


def test_the_place_where_something_is_allowed_is_a_folder_not_a_prefix_of_its_name() -> None:
    assert rules_broken(DOC + "import time\nnow = time.time()\n", "src/posthouse/application/run.py") == {
        "clock"
    }


def test_a_module_that_calls_itself_pure_must_be() -> None:
    claim = '"""Plans an append. Pure: the caller does the reading and writing."""\n'
    assert rules_broken(claim + "import asyncio\n") == {"purity"}
    assert breaches_of(claim + "import hashlib\n") == []
    assert breaches_of(DOC + "import asyncio\n") == []


def test_a_test_of_a_room_does_not_wait_for_time_to_pass() -> None:
    nap = DOC + "import asyncio\nasync def test():\n    await asyncio.sleep({})\n"
    assert rules_broken(nap.format(0.5), "tests/gateway/test_drain.py") == {"long-sleep"}
    assert breaches_of(nap.format(0.01), "tests/gateway/test_drain.py") == []
    assert breaches_of(nap.format(0.5), "tests/guarantees/test_g1.py") == []


def test_no_rule_is_idle_and_every_message_says_what_to_do() -> None:
    """A rule that is added without a breach above it fails here."""
    elsewhere = [
        ("src/posthouse/kit/text_utils.py", "x = 1\n" * FILE_LINES_MAX + function_of(FUNCTION_LINES_MAX + 1)),
        ("src/posthouse/storage/plan.py", '"""Pure."""\nimport time\n'),
        ("tests/gateway/test_drain.py", DOC + "import time\ntime.sleep(1)\n"),
    ]
    inside = [("src/posthouse/storage/append.py", DOC + code + "\n") for code, _ in BREACHES]
    sources = [Source(PurePosixPath(path), text) for path, text in elsewhere + inside]
    for rule in RULES:
        messages = [finding.message for source in sources for finding in rule(source)]
        assert messages, f"nothing shows that {rule.__name__} fires"
        assert all(":" in message for message in messages), messages
