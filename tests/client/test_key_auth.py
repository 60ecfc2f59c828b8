"""A rotation needs no deployment: what is refused with the old token is asked once more with the
new one, by any HTTP client with `KeySource.auth()` and by both faces of Keyturn's own."""

import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx2
import pytest

from keyturn import KeySource
from keyturn.client import Forbidden, SourceFault, Unauthenticated
from keyturn.domain.token import Token
from tests.cli.calling import answer, answering
from tests.client.driving import KEY, OTHER, TOKEN, drive, problem, session
from tests.client.driving import answer as answered
from tests.client.faces import Face

REFUSED = {"code": "credential.invalid", "detail": "No.", "request_id": "r"}


@dataclass
class Api:
    """An API that lets one token in. What came: the method, the token's hint, the body."""

    url: str = ""
    accepted: Token = TOKEN
    status: int = 401
    code: str = "credential.invalid"
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        token = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        body = self._body(handler)
        with self.lock:
            self.seen.append((handler.command, token[:30], body))
        if token == self.accepted.reveal():
            answer(handler, 200, "application/json", json.dumps(KEY).encode())
            return
        told = REFUSED | {"code": self.code}
        answer(handler, self.status, "application/problem+json", json.dumps(told).encode())

    def _body(self, handler: BaseHTTPRequestHandler) -> bytes:
        if handler.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(handler.rfile.readline(), 16):
                body += handler.rfile.read(size)
                handler.rfile.readline()
            handler.rfile.readline()
            return body
        body = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
        del handler.headers["Content-Length"]
        return body


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()
    with answering(made.answer) as url:
        made.url = url
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.token"
    path.write_text(TOKEN.reveal())
    return path


class Slow:
    """A place that shows its new token only to who reads it again."""

    name = "place:slow"

    def __init__(self) -> None:
        self.token = TOKEN

    def read(self) -> str:
        return self.token.reveal()

    def stamp(self) -> None:
        return None


@pytest.fixture
def place() -> Slow:
    return Slow()


@pytest.fixture
def source(place: Slow) -> KeySource:
    """One that has read the place some time ago."""
    made = KeySource(place, every_seconds=1_000)
    made.token()
    made._read_at -= 10
    return made


def replaced(api: Api, place: Slow, token: Token = OTHER) -> None:
    place.token = api.accepted = token


# --- any HTTP client ------------------------------------------------------------------------------


def test_the_token_is_presented_and_a_change_of_the_file_taken(api: Api, file: Path) -> None:
    with httpx2.Client(auth=KeySource(f"file:{file}").auth()) as client:
        assert client.get(api.url).status_code == 200
        file.write_text(OTHER.reveal())
        api.accepted = OTHER
        assert client.get(api.url).status_code == 200
    assert [hint for _, hint, _ in api.seen] == [TOKEN.hint, OTHER.hint]


@pytest.mark.parametrize("body", [{"content": b"twice"}, {"json": [1]}, {"data": {"a": "b"}}, {}])
def test_a_refused_call_is_made_once_more_with_the_new_token_and_the_same_body(
    api: Api, place: Slow, source: KeySource, body: dict[str, Any]
) -> None:
    with httpx2.Client(auth=source.auth()) as client:
        replaced(api, place)
        assert client.post(api.url, **body).status_code == 200
    (_, old, first), (_, new, second) = api.seen
    assert (old, new) == (TOKEN.hint, OTHER.hint)
    assert first == second


async def test_an_asynchronous_client_does_the_same(
    api: Api, place: Slow, source: KeySource
) -> None:
    async with httpx2.AsyncClient(auth=source.auth()) as client:
        replaced(api, place)
        assert (await client.post(api.url, content=b"twice")).status_code == 200
        assert (await client.get(api.url)).status_code == 200
    assert [hint for _, hint, _ in api.seen] == [TOKEN.hint, OTHER.hint, OTHER.hint]


def test_where_the_place_has_no_other_token_the_refusal_stands_after_one_call(
    api: Api, source: KeySource
) -> None:
    api.accepted = OTHER
    with httpx2.Client(auth=source.auth()) as client:
        assert client.get(api.url).status_code == 401
    assert len(api.seen) == 1


def test_it_is_made_once_more_and_not_again(api: Api, place: Slow, source: KeySource) -> None:
    api.accepted = TOKEN
    place.token = OTHER
    api.accepted = Token(brand="kt", environment="prod", id=TOKEN.id, secret="a" * 43)
    with httpx2.Client(auth=source.auth()) as client:
        assert client.get(api.url).status_code == 401
    assert [hint for _, hint, _ in api.seen] == [TOKEN.hint, OTHER.hint]


def test_what_was_refused_otherwise_is_not_made_again(
    api: Api, place: Slow, source: KeySource
) -> None:
    replaced(api, place)
    api.status = 403
    with httpx2.Client(auth=source.auth()) as client:
        assert client.get(api.url).status_code == 403
    assert len(api.seen) == 1


def test_a_streamed_body_is_not_sent_twice(api: Api, place: Slow, source: KeySource) -> None:
    def parts() -> Iterator[bytes]:
        yield b"once"

    replaced(api, place)
    with httpx2.Client(auth=source.auth()) as client:
        assert client.post(api.url, content=parts()).status_code == 401
        assert len(api.seen) == 1
        source.refresh()
        assert client.post(api.url, content=parts()).status_code == 200


async def test_nor_by_an_asynchronous_client(api: Api, place: Slow, source: KeySource) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"once"

    replaced(api, place)
    async with httpx2.AsyncClient(auth=source.auth()) as client:
        assert (await client.post(api.url, content=parts())).status_code == 401
    assert len(api.seen) == 1


def test_where_there_is_no_token_at_all_nothing_is_sent(api: Api, tmp_path: Path) -> None:
    auth = KeySource(f"file:{tmp_path / 'absent'}").auth()
    with httpx2.Client(auth=auth) as client, pytest.raises(SourceFault, match="no such file"):
        client.get(api.url)
    assert api.seen == []


# --- Keyturn's own client -------------------------------------------------------------------------


def test_a_client_of_keyturn_takes_the_new_token_when_the_old_one_is_refused(
    face: Face, api: Api, place: Slow, source: KeySource
) -> None:
    client = face.client(api.url, source)
    replaced(api, place)
    face.do(client.keys.read, "a")
    face.do(client.keys.read, "a")
    assert [hint for _, hint, _ in api.seen] == [TOKEN.hint, OTHER.hint, OTHER.hint]


def test_a_client_of_keyturn_follows_the_file_that_it_was_given(
    face: Face, api: Api, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYTURN_API_KEY_FILE", str(file))
    client = face.client(api.url, None)
    face.do(client.keys.read, "a")
    file.write_text(OTHER.reveal())
    api.accepted = OTHER
    face.do(client.keys.read, "a")
    assert [hint for _, hint, _ in api.seen] == [TOKEN.hint, OTHER.hint]


def test_a_token_that_is_refused_and_not_replaced_is_refused(
    face: Face, api: Api, source: KeySource
) -> None:
    api.accepted = OTHER
    client = face.client(api.url, source)
    with pytest.raises(Unauthenticated):
        face.do(client.keys.read, "a")
    assert len(api.seen) == 1


def test_only_a_refused_token_is_replaced(
    face: Face, api: Api, place: Slow, source: KeySource
) -> None:
    replaced(api, place)
    client = face.client(api.url, source)
    api.code = "credential.missing"
    with pytest.raises(Unauthenticated):
        face.do(client.keys.read, "a")
    api.status, api.code = 403, "network.denied"
    with pytest.raises(Forbidden):
        face.do(client.keys.read, "a")
    assert len(api.seen) == 2


def test_a_call_that_makes_something_is_made_again_with_the_same_idempotency_key(
    place: Slow, source: KeySource
) -> None:
    from keyturn.client.keys import create_key

    place.token = OTHER
    driven = drive(
        create_key("scheduler-prod"),
        [problem(401, "credential.invalid"), answered(500)],
        of=session(api_key=source),
    )
    first, second = driven.sent
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.headers["X-Request-Id"] == second.headers["X-Request-Id"]
    assert first.headers["Authorization"] == f"Bearer {TOKEN.reveal()}"
    assert second.headers["Authorization"] == f"Bearer {OTHER.reveal()}"
    assert driven.waits == []


def test_what_needs_no_token_asks_its_place_for_none(tmp_path: Path) -> None:
    from keyturn.client.health import look_at_health

    driven = drive(
        look_at_health(),
        [answered(500)],
        of=session(api_key=KeySource(f"file:{tmp_path / 'absent'}")),
    )
    [sent] = driven.sent
    assert "Authorization" not in sent.headers


def test_a_place_without_a_token_is_said_before_anything_is_sent(
    face: Face, api: Api, tmp_path: Path
) -> None:
    client = face.client(api.url, KeySource(f"file:{tmp_path / 'absent'}"))
    with pytest.raises(SourceFault, match="no such file") as raised:
        face.do(client.keys.read, "a")
    assert raised.value.code == "client.source"
    assert api.seen == []
