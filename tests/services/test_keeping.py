"""A first use is kept before it is answered, and what is answered then is as new as that."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from keyturn.domain.key import RevocationReason
from keyturn.domain.token import Token
from keyturn.http.desk import Desk, Readiness
from keyturn.http.metrics import Metrics
from keyturn.http.sole_sight import SoleSight
from keyturn.http.verify import VerifyEndpoint
from keyturn.services.meter import Meter
from keyturn.services.revoke import revoke_key
from keyturn.services.witness import Witness
from tests.houses import House


class Meanwhile(Meter):
    """A meter that keeps at once, after something else has happened."""

    happens: Callable[[], object] = staticmethod(lambda: None)

    def when_kept(self, tell: Callable[[], None]) -> None:
        self.happens()
        self.flush()
        tell()


def desk_of(house: House, meter: Meter) -> Desk:
    return Desk(
        context=house.context,
        meter=meter,
        witness=Witness(house.context, meter),
        metrics=Metrics(),
        node_id=house.workspace_id,
        version="1",
        environment="test",
        proxies=0,
        check=lambda: Readiness(is_ready=True, checks={}),
        sight=SoleSight(house.context.store.credentials, house.workspace_id, "here"),
    )


def ask(desk: Desk, caller: Token, subject: Token) -> Any:
    """The verdict on `subject`, as the endpoint answers it."""
    sent: list[Any] = []
    body = json.dumps({"api_key": subject.reveal(), "runtime": "worker"}).encode()

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
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
    asyncio.run(VerifyEndpoint(desk)(scope, receive, send))
    return json.loads(sent[1]["body"])


def test_a_key_revoked_while_its_first_use_is_kept_is_not_answered_valid(house: House) -> None:
    meter = Meanwhile(house.context)
    desk = desk_of(house, meter)
    issued = house.issue()
    key_id = issued.view.key.id

    def revoke() -> None:
        reason = RevocationReason.OTHER
        revoke_key(house.context, house.act(), house.workspace_id, key_id, reason)

    meter.happens = revoke
    verdict = ask(desk, house.installed.token, issued.token)
    assert (verdict["valid"], verdict["code"]) == (False, "revoked")


def test_a_first_use_is_in_the_table_when_it_is_answered(house: House) -> None:
    meter = Meanwhile(house.context)
    issued = house.issue()
    assert ask(desk_of(house, meter), house.installed.token, issued.token)["valid"]
    with house.store.read() as reading:
        (use,) = reading.uses.of([issued.view.key.id])
    assert (use.runtime, use.allowed) == ("worker", 1)
