"""Logs: one JSON object a line, with no token in it and no line that a caller forged."""

import asyncio
import json
import logging
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.token import make_token
from keyturn.server.logs import CutOff, JsonFormatter
from keyturn.testing import SeededEntropy

TOKEN = make_token(
    brand="kt", environment="prod", id=UUID(int=7), secret=SeededEntropy(7).take(32)
).reveal()
SECRET = TOKEN[-49:-6]


def line(message: str, **extra: object) -> str:
    record = logging.LogRecord("keyturn.test", logging.INFO, "", 0, message, (), None)
    record.__dict__ |= extra
    return JsonFormatter().format(record)


def test_a_line_tells_when_what_and_how_grave() -> None:
    event = json.loads(line("answered", method="GET", status=200, ms=1.5, request_id="r-1"))
    assert event.pop("at").endswith("Z")
    assert event == {
        "level": "info",
        "logger": "keyturn.test",
        "message": "answered",
        "method": "GET",
        "status": 200,
        "ms": 1.5,
        "request_id": "r-1",
    }


@given(text=st.text(), path=st.text())
def test_whatever_a_caller_sends_stays_in_its_own_line(text: str, path: str) -> None:
    spelled = line(text, path=path)
    assert spelled.isascii()
    assert spelled.isprintable()
    event = json.loads(spelled)
    assert event["level"] == "info"


@pytest.mark.parametrize(
    "injected", ["\n", "\r\n", "\x1b[2J", "\x00", "\u2028", '"}\n{"level":"error"']
)
def test_line_ends_and_terminal_controls_are_escaped(injected: str) -> None:
    spelled = line(f"before{injected}after", path=f"/v1/{injected}")
    assert len(spelled.splitlines()) == 1
    assert "\x1b" not in spelled
    assert json.loads(spelled)["message"] == f"before{injected}after"


@pytest.mark.parametrize("around", ["{}", "\n{}\n", "x{}x", "https://h/?k={}&l", "'{}'", "é{}é"])
def test_a_token_never_gets_into_a_line(around: str) -> None:
    text = around.format(TOKEN)
    for spelled in (line(text), line("", path=text), line("", request_id=text)):
        assert SECRET not in spelled
        json.loads(spelled)


def test_a_token_in_an_exception_is_taken_out() -> None:
    try:
        raise ValueError(f"no such key: {TOKEN}")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("keyturn.test", logging.ERROR, "", 0, "failed", (), info)
    spelled = JsonFormatter().format(record)
    assert "ValueError" in spelled
    assert SECRET not in spelled
    assert len(spelled.splitlines()) == 1


def test_the_end_of_a_request_that_was_cut_off_is_told_without_a_stack() -> None:
    error = asyncio.CancelledError()
    record = logging.LogRecord(
        "uvicorn.error", logging.ERROR, "", 0, "Exception in ASGI", (), (type(error), error, None)
    )
    assert CutOff().filter(record)
    assert json.loads(JsonFormatter().format(record))["message"] == (
        "a request was cut off by the end"
    )


def test_other_failures_keep_their_stack() -> None:
    error = ValueError("x")
    record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), (ValueError, error, None))
    assert CutOff().filter(record)
    assert record.exc_info is not None
