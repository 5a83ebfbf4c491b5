"""One event is one line of JSON, whatever its values hold."""

import json
import logging

import pytest

from posthouse.kit.log import JsonFormatter, logger


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    text = [JsonFormatter().format(record) for record in caplog.records]
    assert all("\n" not in line for line in text)
    return [json.loads(line) for line in text]


def test_values_are_data_and_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logger("posthouse.room").info("joined", user='x\n{"event":"forged"}', number=7, odd={1, 2}.__class__)
    (line,) = lines(caplog)
    assert (line["room"], line["level"], line["event"], line["number"]) == ("room", "info", "joined", 7)
    assert line["user"] == 'x\n{"event":"forged"}'


def test_an_error_comes_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise KeyError("the cause")
    except KeyError as error:
        logger("posthouse.room").error("failed", error=error)
    (line,) = lines(caplog)
    assert "KeyError: 'the cause'" in str(line["error"])


def test_what_is_below_the_level_costs_no_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        logger("posthouse.room").info("not this")
        logger("posthouse.room").debug("nor this")
        logger("posthouse.room").warning("this")
    assert [line["event"] for line in lines(caplog)] == ["this"]


def test_fields_of_the_process_are_on_every_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logger("posthouse.room").info("joined", user="ann")
    line = json.loads(JsonFormatter({"worker": 3}).format(caplog.records[0]))
    assert (line["worker"], line["user"]) == (3, "ann")
