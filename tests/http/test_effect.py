"""An answer that takes something away waits until that is effective, and says how far it is."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Response
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.error import StorageUnavailable
from keyturn.http.effect import effective, prefers_async
from keyturn.http.sight import Propagation

COMPLETE = Propagation(state="complete", nodes=3, confirmed=3, expired=0, took_ms=12)
CUT_OFF = Propagation(state="complete", nodes=3, confirmed=2, expired=1, took_ms=4_990)
PENDING = Propagation(
    state="pending", nodes=3, confirmed=2, expired=0, took_ms=10_000, effective_by=1_000_000
)


class Waiting:
    """A sight that has come so far, and keeps how long it was waited for."""

    def __init__(self, reached: Propagation | None) -> None:
        self._reached = reached
        self.asked: list[tuple[int, float]] = []

    async def effective(self, grace_seconds: int, within: float) -> Propagation:
        self.asked.append((grace_seconds, within))
        if self._reached is None:
            raise StorageUnavailable("The database cannot be reached.")
        return self._reached


def told(
    reached: Propagation | None, response: Response, *, is_async: bool = False
) -> tuple[Response, list[tuple[int, float]]]:
    sight = Waiting(reached)
    clock = SimpleNamespace(now=lambda: 2_000_000)
    desk: Any = SimpleNamespace(sight=sight, context=SimpleNamespace(clock=clock))
    return asyncio.run(effective(desk, response, 7, is_async=is_async)), sight.asked


def test_what_is_effective_everywhere_is_answered_as_it_is() -> None:
    answer, asked = told(COMPLETE, Response("{}", status_code=201))
    assert (answer.status_code, answer.body) == (201, b"{}")
    assert answer.headers["keyturn-propagation"] == "complete; nodes=3; ms=12"
    assert "keyturn-effective-by" not in answer.headers
    assert asked == [(7, 10.0)]


def test_nodes_that_were_counted_out_are_told_apart() -> None:
    answer, _ = told(CUT_OFF, Response(status_code=204))
    assert answer.status_code == 204
    assert answer.headers["keyturn-propagation"] == "complete; nodes=3; ms=4990; expired=1"


@pytest.mark.parametrize("status", [200, 201, 202])
def test_what_takes_too_long_is_accepted_with_the_same_body(status: int) -> None:
    answer, _ = told(PENDING, Response("{}", status_code=status, headers={"ETag": '"2"'}))
    assert (answer.status_code, answer.body) == (202, b"{}")
    assert answer.headers["keyturn-effective-by"] == "1970-01-01T00:00:01.000000Z"
    assert answer.headers["etag"] == '"2"'
    assert "keyturn-propagation" not in answer.headers
    assert "preference-applied" not in answer.headers


def test_an_answer_without_a_body_is_accepted_without_one() -> None:
    answer, _ = told(PENDING, Response(status_code=204))
    assert (answer.status_code, answer.body, answer.headers["content-length"]) == (202, b"", "0")


def test_who_would_not_wait_does_not() -> None:
    answer, asked = told(PENDING, Response("{}"), is_async=True)
    assert asked == [(7, 0.0)]
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "respond-async"
    assert answer.headers["keyturn-effective-by"] == "1970-01-01T00:00:01.000000Z"


def test_who_would_not_wait_is_told_where_it_is_effective_already() -> None:
    answer, _ = told(COMPLETE, Response("{}"), is_async=True)
    assert answer.status_code == 202
    assert answer.headers["keyturn-propagation"] == "complete; nodes=3; ms=12"
    assert answer.headers["keyturn-effective-by"] == "1970-01-01T00:00:02.000000Z"


def test_a_change_whose_reach_cannot_be_seen_stands() -> None:
    answer, _ = told(None, Response("{}"))
    assert answer.status_code == 202
    assert "keyturn-propagation" not in answer.headers


def lines(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"accept", b"*/*"), *((b"prefer", one.encode("latin-1")) for one in values)]


@pytest.mark.parametrize(
    "values",
    [
        ["respond-async"],
        ["Respond-Async"],
        [" respond-async "],
        ["respond-async, wait=10"],
        ["return=minimal", "respond-async"],
        ["wait=10,respond-async;a=b"],
        ['respond-async=""'],
        ['foo="a, b" , respond-async'],
        [r'foo="a\", b", respond-async'],
    ],
)
def test_the_preference_is_found_among_others(values: list[str]) -> None:
    assert prefers_async(lines(*values))


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["wait=10"],
        ["respond-asynchronously"],
        ["respond-async=no"],
        ['foo="respond-async"'],
        ['foo="a, respond-async"'],
        ["foo=a;respond-async"],
        ["x" * 1_000 + ",respond-async"],
    ],
)
def test_others_are_ignored(values: list[str]) -> None:
    assert not prefers_async(lines(*values))


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=40), max_size=5))
def test_no_preference_is_refused(values: list[str]) -> None:
    assert prefers_async(lines(*values)) in (True, False)
