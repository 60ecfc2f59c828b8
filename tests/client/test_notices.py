"""One warning for each key and rotation in the life of a process, and never with a token in it."""

import logging
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from keyturn.client.call import Answer
from keyturn.client.notices import LOGGER, Notices
from keyturn.client.verify import look_at_self, verify
from tests.client.driving import KEY, OTHER, TOKEN, answer, drive

VERIFIED = {
    "id": "0190-key",
    "name": "scheduler-prod",
    "service": "scheduler",
    "environment": "prod",
    "workspace_id": "0190-workspace",
    "scopes": ["read"],
    "metadata": {},
}
BEGAN, ENDS = "2026-01-02T03:04:05.000006Z", "2026-01-03T03:04:05.000006Z"


def verdict(rotation: str | None, **members: object) -> Answer:
    notice = {"since": BEGAN, "sunset": ENDS, "rotation_id": rotation}
    told = {"valid": True, "code": "valid", "request_id": "req-1", "key": VERIFIED, "as_of": 7}
    return answer(200, told | {"deprecation": rotation and notice} | members)


def own(rotation: str, role: str) -> Answer:
    notice = {"rotation_id": rotation, "role": role, "since": BEGAN, "sunset": ENDS}
    members = {"type": "api_key", "key": KEY, "scopes": [], "permissions": []}
    return answer(200, members | {"rotation": notice})


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    with caplog.at_level(logging.WARNING, logger=LOGGER):
        yield lambda: [one.getMessage() for one in caplog.records if one.name == LOGGER]


def test_a_verification_of_a_key_on_its_way_out_is_told_once(told: Any) -> None:
    rotation = str(uuid4())
    for _ in range(3):
        drive(verify(OTHER), [verdict(rotation)]).given()
    [line] = told()
    assert "The key 0190-key (scheduler-prod) is being rotated away" in line
    assert "by 2026-01-03T03:04:05.000006+00:00" in line
    assert rotation in line
    assert OTHER.reveal()[-49:] not in line
    drive(verify(OTHER), [verdict(str(uuid4()))]).given()
    assert len(told()) == 2


def test_ones_own_token_is_told_where_it_is_the_old_one(told: Any) -> None:
    rotation = str(uuid4())
    drive(look_at_self(), [own(rotation, "new")]).given()
    assert told() == []
    drive(look_at_self(), [own(rotation, "old")]).given()
    drive(look_at_self(), [own(rotation, "old")]).given()
    [line] = told()
    assert "this program must take the new one" in line


def test_nothing_is_told_of_a_key_that_stays(told: Any) -> None:
    drive(verify(OTHER), [verdict(None)]).given()
    drive(look_at_self(), [answer(200, {"type": "gateway", "scopes": [], "permissions": []})])
    assert told() == []


def test_what_a_server_wrote_stays_one_line_without_a_token(told: Any) -> None:
    odd = f"{uuid4()}\n{TOKEN.reveal()}\x1b[2J"
    drive(verify(OTHER), [verdict(odd)]).given()
    [line] = told()
    assert line.isprintable()
    assert TOKEN.reveal()[-49:] not in line


def test_the_memory_is_bounded_and_of_many_threads_one_tells(told: Any) -> None:
    notices = Notices(most=50)
    results = [drive(verify(OTHER), [verdict(str(uuid4()))]).given() for _ in range(200)]
    before = len(told())

    def look() -> None:
        for one in results[:40]:
            notices.look_at(one)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told()) - before == 40
    for one in results:
        notices.look_at(one)
    assert len(notices._told) == 50
