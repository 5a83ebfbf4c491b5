"""The specification's own text: rules are numbered once, what cites them finds them, and its examples are valid."""

import json
import re
from collections import Counter
from typing import Any

import pytest

from posthouse.protocol.codec import decode_client, decode_server
from posthouse.protocol.codes import Code, action_of
from posthouse.protocol.frames import (
    Ack,
    ClientFrame,
    Entries,
    Error,
    Fetch,
    Hello,
    List,
    Push,
    Send,
    ServerFrame,
    Welcome,
)
from spec.generate import ROOT
from spec.schema import frame_types
from tests.spec import vectors
from tests.spec.test_schema import validator
from tests.tidy.source import repository_files

TEXT = (ROOT / "spec/protocol.md").read_text("utf-8")
RULES = re.findall(r"^\*\*(P-\d+\.\d+)\*\* ", TEXT, re.MULTILINE)
EXAMPLES = [
    (line[0], line[2:])
    for block in re.findall(r"^```frames\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
CITING = (".py", ".md", ".json", ".toml", ".ts")


def test_every_rule_has_a_number_of_its_own_in_order() -> None:
    assert [rule for rule, times in Counter(RULES).items() if times > 1] == []
    numbers = [tuple(map(int, rule.removeprefix("P-").split("."))) for rule in RULES]
    assert numbers == sorted(numbers)
    sections = Counter(section for section, _ in numbers)
    assert all(
        (section, rule) in numbers for section, count in sections.items() for rule in range(1, count + 1)
    )


def test_every_rule_that_is_cited_exists() -> None:
    """In code, tests, vectors and documents."""
    cited: dict[str, str] = {}
    for path in repository_files():
        if str(path).endswith(CITING):
            text = (ROOT / path).read_text("utf-8", errors="replace")
            cited |= dict.fromkeys(re.findall(r"\bP-\d+\.\d+\b", text), str(path))
    unknown = {rule: path for rule, path in cited.items() if rule not in RULES}
    assert not unknown
    assert len(cited) > 50, "the specification's own citations at least should have been found"


def test_every_example_is_a_valid_frame_of_its_side() -> None:
    assert len(EXAMPLES) > 25
    for arrow, text in EXAMPLES:
        side, decode = ("client_frame", decode_client) if arrow == "→" else ("server_frame", decode_server)
        assert decode(text.encode()) is not None, text
        validator(side).validate(json.loads(text))


@pytest.fixture(scope="module")
def story() -> list[ClientFrame | ServerFrame]:
    """The example session as frames."""
    frames = [
        decode_client(text.encode()) if arrow == "→" else decode_server(text.encode())
        for arrow, text in EXAMPLES
    ]
    return [frame for frame in frames if frame is not None]


def test_the_example_session_keeps_the_rules(story: list[ClientFrame | ServerFrame]) -> None:
    """Each send is answered by its name, a repeated one is the same, and seqs and ordinals agree wherever they come."""
    sends: dict[str, Send] = {}
    numbered: dict[tuple[str, int], int] = {}
    for frame in story:
        if isinstance(frame, Send):
            assert sends.setdefault(frame.client_id, frame) == frame, "P-8.3"
        elif isinstance(frame, Ack):
            assert frame.client_id in sends
            assert numbered.setdefault((frame.conv, frame.seq), frame.ordinal) == frame.ordinal
        for entry in entries_of(frame):
            assert numbered.setdefault((entry.conv, entry.seq), entry.ordinal) == entry.ordinal
    lounge = sorted(seq for conv, seq in numbered if conv == "lounge")
    assert lounge == list(range(lounge[0], lounge[-1] + 1))
    ordinals = [numbered["lounge", seq] for seq in lounge]
    assert ordinals == sorted(ordinals)


def entries_of(frame: object) -> tuple[Any, ...]:
    if isinstance(frame, Push):
        return (frame.entry,)
    return frame.entries if isinstance(frame, Entries) else ()


def test_the_example_session_shows_what_a_client_must_be_able_to_do(
    story: list[ClientFrame | ServerFrame],
) -> None:
    kinds = {type(frame) for frame in story}
    assert {Hello, Welcome, List, Send, Ack, Push, Fetch, Entries, Error} <= kinds
    assert any(isinstance(frame, Welcome) and frame.resumed for frame in story)


def test_every_kind_of_frame_is_in_the_tables() -> None:
    for side in (ClientFrame, ServerFrame):
        for frame in frame_types(side):
            assert f"`{frame.__struct_config__.tag}`" in TEXT


def test_every_field_of_a_frame_is_named() -> None:
    for side in (ClientFrame, ServerFrame):
        for frame in frame_types(side):
            for field in frame.__struct_fields__:
                assert f"`{field}`" in TEXT or f'"{field}"' in TEXT, f"{frame.__name__}.{field}"


@pytest.mark.parametrize("name", ["frame_bytes_max", "body_bytes_max", "in_flight_max", "repeat_window_s"])
def test_the_limits_of_welcome_are_explained(name: str) -> None:
    assert f"`{name}`" in TEXT


def test_the_table_of_ranges_is_that_of_the_catalogue() -> None:
    rows = re.findall(r"^\| (\d{4}) to (\d{4}) \| (\w+) \|", TEXT, re.MULTILINE)
    assert len(rows) == 7
    for low, high, name in rows:
        assert {action_of(int(low)), action_of(int(high))} == {name}


def test_codes_that_the_text_names_exist() -> None:
    names = {code.name.lower() for code in Code}
    named = set(re.findall(r"\(`([a-z_]+)`\)", TEXT)) | set(re.findall(r"end: `([a-z_]+)`", TEXT))
    assert named <= names, named - names


def test_the_direct_id_of_the_text_is_that_of_the_vectors() -> None:
    (vector,) = [each for each in vectors.load("ids")["direct"] if each["users"] == ["ann", "ben"]]
    assert f"`{vector['conv']}`" in TEXT


def test_every_file_of_vectors_is_in_the_table() -> None:
    """P-19.1."""
    files = {path.name for path in (ROOT / "spec/vectors").iterdir()}
    assert files == set(re.findall(r"^\| `(\w+\.json)` \|", TEXT, re.MULTILINE))
