"""Structured logging: one event, one line of JSON on standard error, safe against injected line breaks.

Usage: `log = logger(__name__)`, then `log.info("listening", port=8080)`. Values are data, never part of the event.
"""

import json
import logging
import sys
from collections.abc import Mapping


class Logger:
    """Thin face over the standard library's logger that takes fields as keywords."""

    __slots__ = ("_inner",)

    def __init__(self, name: str) -> None:
        self._inner = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._write(logging.ERROR, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, object]) -> None:
        if self._inner.isEnabledFor(level):
            error = fields.pop("error", None)
            info = (type(error), error, error.__traceback__) if isinstance(error, BaseException) else None
            self._inner.log(level, event, exc_info=info, extra={"fields": fields})


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, room, event, fields, and the error with its traceback."""

    def __init__(self, always: Mapping[str, object] | None = None) -> None:
        """`always`: fields of every line."""
        super().__init__()
        self._always = dict(always or {})

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "room": record.name.removeprefix("posthouse."),
            "event": record.getMessage(),
        }
        line.update(self._always)
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)


def logger(name: str) -> Logger:
    """The logger of a module: `logger(__name__)`."""
    return Logger(name)


def configure(level: str = "info", **always: object) -> None:
    """Send every log line as JSON to standard error, with the fields `always`. Called once, by the composition root."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(always))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
