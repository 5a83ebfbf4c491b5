"""Other people's text made safe for a terminal: it can neither steer it nor reverse what is shown. Pure."""

import re

_LINE_ENDS = re.compile("\r\n|[\n\r\v\f\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
_INVISIBLE = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
"""Marks that change the direction of what follows; also of what is not theirs."""
_SURROGATES = re.compile("[\ud800-\udfff]")


def lines(text: str) -> list[str]:
    """The lines of a text, each safe to print; at least one."""
    return [_safe(line) for line in _LINE_ENDS.split(text)]


def line(text: str) -> str:
    """A text as one line, for a name or a title."""
    return _safe(_LINE_ENDS.sub(" ", text))


def _safe(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    text = _INVISIBLE.sub("", text.replace("\t", "    "))
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub(_pictured, text))


def _pictured(match: re.Match[str]) -> str:
    """The Unicode picture of a control character: ␛ for escape."""
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"
