"""No verdict is given by what may be old: the sight is asked last, whatever the answer is."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest

from keyturn.domain.error import CredentialInvalid, FreshnessLost
from keyturn.domain.token import Token
from keyturn.http.sole_sight import SoleSight
from keyturn.http.verify import VerifyEndpoint
from keyturn.services.meter import Meter
from keyturn.services.provision import WorkspaceAmendment, amend_workspace
from keyturn.storage.contract import CredentialReading, Reference
from tests.houses import House
from tests.services.test_keeping import desk_of


class Fading(SoleSight):
    """A sight that is new enough for so many questions, and then late by as many seconds. It
    writes down what it was asked."""

    def __init__(self, house: House, fresh_for: int, late_seconds: int = 3) -> None:
        super().__init__(house.context.store.credentials, house.workspace_id, "here")
        self._fresh_for = fresh_for
        self._late_seconds = late_seconds
        self.asked: list[str] = []

    async def look(self, references: Iterable[Reference], at_least: int) -> CredentialReading:
        self.asked.append("look")
        return await super().look(references, at_least)

    def require_fresh(self, grace_seconds: int) -> int | None:
        self.asked.append("fresh")
        if self.asked.count("fresh") <= self._fresh_for:
            return None
        if self._late_seconds < grace_seconds:
            return self._late_seconds
        raise FreshnessLost("This node is late.")


def verdict(house: House, sight: Fading, caller: Token, subject: Token) -> Any:
    """What is sent, and the headers of it."""
    meter = Meter(house.context)
    desk = desk_of(house, meter)
    desk.sight = sight
    sent: list[Any] = []
    body = json.dumps({"api_key": subject.reveal(), "runtime": "worker"}).encode()

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sight.asked.append("send")
        sent.append(message)

    scope = {
        "method": "POST",
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "headers": [
            (b"authorization", b"Bearer " + caller.reveal().encode()),
            (b"content-type", b"application/json"),
        ],
        "keyturn.request_id": "one",
        "keyturn.request_id_given": False,
    }
    try:
        asyncio.run(VerifyEndpoint(desk)(scope, receive, send))
    finally:
        sight.asked.append(f"noted {meter.waiting}")
    return json.loads(sent[1]["body"]), dict(sent[0]["headers"])


def unheard_of(house: House, token: Token) -> Token:
    """A token of no key."""
    return Token(
        brand=token.brand,
        environment=token.environment,
        id=house.workspace_id,
        secret=token.secret().decode(),
    )


@pytest.fixture
def verifier(house: House) -> Token:
    return house.issue(permissions=("verify",)).token


def test_the_sight_is_asked_last_before_the_answer(house: House, verifier: Token) -> None:
    sight = Fading(house, fresh_for=99)
    told, headers = verdict(house, sight, verifier, house.issue().token)
    assert (told["valid"], told["grace"]) == (True, None)
    assert b"keyturn-grace" not in headers
    assert sight.asked[-4:-1] == ["fresh", "send", "send"]


@pytest.mark.parametrize("fresh_for", [0, 1])
def test_what_got_late_meanwhile_is_not_answered(
    house: House, verifier: Token, fresh_for: int
) -> None:
    sight = Fading(house, fresh_for=fresh_for)
    with pytest.raises(FreshnessLost):
        verdict(house, sight, verifier, house.issue().token)
    assert "send" not in sight.asked


def test_what_is_late_is_not_noted_as_let_in(house: House, verifier: Token) -> None:
    sight = Fading(house, fresh_for=0)
    with pytest.raises(FreshnessLost):
        verdict(house, sight, verifier, house.issue().token)
    assert sight.asked == ["look", "fresh", "noted 0"]


def test_a_caller_is_refused_by_nothing_old(house: House) -> None:
    known = house.issue(permissions=("verify",)).token
    stranger = unheard_of(house, known)
    with pytest.raises(CredentialInvalid):
        verdict(house, Fading(house, fresh_for=99), stranger, known)
    with pytest.raises(FreshnessLost):
        verdict(house, Fading(house, fresh_for=0), stranger, known)


def test_a_denial_is_given_by_nothing_old(house: House, verifier: Token) -> None:
    unknown = unheard_of(house, verifier)
    with pytest.raises(FreshnessLost):
        verdict(house, Fading(house, fresh_for=0), verifier, unknown)


def test_grace_is_the_workspaces_and_is_told(house: House, verifier: Token) -> None:
    subject = house.issue().token
    for seconds in (3, 4):
        amendment = WorkspaceAmendment(grace_seconds=seconds)
        amend_workspace(house.context, house.act(), house.workspace_id, amendment)
        sight = Fading(house, fresh_for=0, late_seconds=3)
        if seconds == 3:
            with pytest.raises(FreshnessLost):
                verdict(house, sight, verifier, subject)
            continue
        told, headers = verdict(house, sight, verifier, subject)
        assert (told["valid"], told["grace"]) == (True, {"late_seconds": 3})
        assert headers[b"keyturn-grace"] == b"3"
    unknown = unheard_of(house, verifier)
    with pytest.raises(FreshnessLost):
        verdict(house, Fading(house, fresh_for=0), verifier, unknown)
