"""AWS Secrets Manager keeps the contract, by the real way out, on a real emulation."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from keyturn.ambient import SystemClock
from keyturn.destinations.aws import AwsKind
from keyturn.destinations.contract import Destination, FaultKind
from keyturn.domain.slot import SlotName
from keyturn.testing.destinations import Behind, DestinationContract
from keyturn.testing.destinations.behind import ONE
from tests.destinations.aws_console import AwsConsole
from tests.destinations.guarded import (
    PATIENT_SECONDS,
    SILENT_SECONDS,
    guarded_outbound,
    run_trouble,
)
from tests.destinations.opened import open_one
from tests.servers.raw import RawServer, http, respond

REGION = "eu-west-1"
CREDENTIAL = {"access_key_id": "AKIATESTS00000000001", "secret_access_key": "tests-" + "s" * 34}
DENIED = b'{"__type": "AccessDeniedException", "message": "SECRET"}'


class Aws:
    """Opens destinations on the emulation, or on whatever listens at another port."""

    def __init__(self, port: int, member: str | None) -> None:
        self.prefix = f"t{uuid4().hex}"
        self.port = port
        self.member = member

    def open(
        self,
        *,
        port: int | None = None,
        allowed: str = "127.0.0.0/8",
        prefix: str | None = None,
        seconds: float = PATIENT_SECONDS,
    ) -> Destination:
        config = {
            "region": REGION,
            "name": f"{prefix or self.prefix}/{{slot}}",
            "field": self.member,
            "endpoint": f"http://127.0.0.1:{port or self.port}",
        }
        kind = AwsKind(guarded_outbound(allowed), SystemClock(), seconds=seconds)
        return open_one(kind, config, CREDENTIAL)

    def console(self, slot: SlotName, prefix: str | None = None) -> AwsConsole:
        return AwsConsole(self.port, REGION, f"{prefix or self.prefix}/{slot}")


class BehindAws:
    """`remove` deletes for ever: what waits for its deletion has tests of its own."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def value(self, slot: SlotName) -> str | None:
        if self._aws.member is None:
            return self._aws.console(slot).text()
        value = self._members(slot).get(self._aws.member)
        return None if value is None else str(value)

    def put(self, slot: SlotName, value: str) -> None:
        if self._aws.member is not None:
            value = json.dumps(self._members(slot) | {self._aws.member: value})
        self._put(slot, value)

    def remove(self, slot: SlotName) -> None:
        self._aws.console(slot).delete(forever=True)

    def beside(self, slot: SlotName) -> Mapping[str, str] | None:
        if self._aws.member is None:
            return None
        members = self._members(slot)
        return {name: str(text) for name, text in members.items() if name != self._aws.member}

    def put_beside(self, slot: SlotName, name: str, text: str) -> None:
        self._put(slot, json.dumps(self._members(slot) | {name: text}))

    def _members(self, slot: SlotName) -> dict[str, object]:
        members: dict[str, object] = json.loads(self._aws.console(slot).text() or "{}")
        return members

    def _put(self, slot: SlotName, text: str) -> None:
        console = self._aws.console(slot)
        if console.text() is None:
            console.create(text)
        else:
            console.put(text)


class OnAws(DestinationContract):
    MEMBER: str | None = None

    @pytest.fixture
    def aws(self, ministack: int) -> Aws:
        return Aws(ministack, self.MEMBER)

    @pytest.fixture
    def destination(self, aws: Aws) -> Destination:
        return aws.open()

    @pytest.fixture
    def another(self, aws: Aws) -> Destination:
        return aws.open()

    @pytest.fixture
    def behind(self, aws: Aws) -> Behind:
        return BehindAws(aws)

    @pytest.fixture
    def broken(self, aws: Aws, tmp_path: Path) -> Iterator[Mapping[FaultKind, Destination]]:
        deleted = f"t{uuid4().hex}"
        aws.console(ONE, deleted).create("{}")
        aws.console(ONE, deleted).delete()
        with (
            run_trouble(tmp_path, None) as trouble,
            RawServer(respond(http(400, DENIED))) as denying,
        ):
            yield {
                FaultKind.MISSING: aws.open(prefix=deleted),
                FaultKind.DENIED: aws.open(port=denying.port),
                FaultKind.ADDRESS_REFUSED: aws.open(allowed="10.0.0.0/8"),
                FaultKind.NOT_UNDERSTOOD: aws.open(port=trouble.garbage),
                FaultKind.BROKEN: aws.open(port=trouble.failing),
                FaultKind.TIMED_OUT: aws.open(port=trouble.silent, seconds=SILENT_SECONDS),
                FaultKind.UNREACHABLE: aws.open(port=trouble.closed),
            }

    @pytest.fixture
    def hidden(self) -> tuple[str, ...]:
        return ("SECRET", CREDENTIAL["secret_access_key"], "marked for deletion")


class TestAws(OnAws):
    """The whole secret is the token."""


class TestAwsField(OnAws):
    """The token is one member of the secret's JSON object."""

    MEMBER = "api_key"
