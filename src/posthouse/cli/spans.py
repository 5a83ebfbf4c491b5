"""Spans of time as people write them on a command line: 90, 15m, 12h, 7d."""

import re
from typing import Any

import click

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Span(click.ParamType[int]):
    """A span of time, as whole seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([1-9]\d{0,8})([smhd]?)", value)
        if match is None:
            self.fail(f"{value!r} is no span of time; write 90 (seconds), 15m, 12h or 7d", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]
