"""Fuzzes the check of entries' bodies: what it takes is an object within the limits that any JSON parser reads."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from fuzz.seeds import JSON_WORDS, entry_bodies
from posthouse.model.content import BODY_BYTES_MAX, BODY_DEPTH_MAX, check_body
from posthouse.model.errors import InvalidContent


def check(data: bytes) -> None:
    try:
        check_body(data)
    except InvalidContent:
        return
    assert len(data) <= BODY_BYTES_MAX
    body = json.loads(data.decode())
    assert isinstance(body, dict)
    assert _depth(body) <= BODY_DEPTH_MAX
    text = json.dumps(body, ensure_ascii=False)
    text.encode()  # no lone surrogates
    assert "\\u0000" not in text.replace("\\\\", ""), "U+0000 is in it"


def _depth(value: object) -> int:
    items = list(value.values()) if isinstance(value, dict) else value
    return 1 + max(map(_depth, items), default=0) if isinstance(items, list) else 0


FUZZER = Fuzzer("bodies", check, ("posthouse.model.content",), entry_bodies(), JSON_WORDS)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
