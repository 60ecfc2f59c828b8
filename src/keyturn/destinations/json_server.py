"""A place that is asked by JSON over HTTP. What it says beside its status is never repeated."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from keyturn.destinations.allotted import AllottedOutbound
from keyturn.destinations.contract import DestinationFault, FaultKind


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonAnswer:
    """`members` are empty where the answer of a refusal is no JSON object."""

    status: int
    members: Mapping[str, object] = field(repr=False)

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class JsonServer:
    """One server, at one address."""

    def __init__(self, way: AllottedOutbound, address: str) -> None:
        self._way = way
        self._address = address

    def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Mapping[str, object] | None = None,
        content_type: str = "application/json",
    ) -> JsonAnswer:
        """One request; an answer without success is given as it is. Raises `DestinationFault`."""
        content = b"" if body is None else json.dumps(body).encode()
        told = {"Accept": "application/json"} | ({"Content-Type": content_type} if content else {})
        answer = self._way.send(
            method, f"{self._address}{path}", headers={**told, **headers}, content=content
        )
        is_success = 200 <= answer.status < 300
        members = _members(answer.content)
        if members is None and is_success:
            raise not_understood()
        return JsonAnswer(status=answer.status, members=members or {})


def part(members: Mapping[str, object], *names: str) -> Mapping[str, object]:
    """The object within objects; an empty one where it is not there or null. Raises
    `DestinationFault` where something else is."""
    for name in names:
        value = members.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise not_understood()
        members = value
    return members


def status_fault(status: int) -> DestinationFault:
    """What a status means that has no meaning of its own for the kind of place."""
    if status in (401, 403):
        return denied()
    if status == 429 or status >= 500:
        return DestinationFault(FaultKind.BROKEN, "The place answers that it has failed.")
    return not_understood()


def denied() -> DestinationFault:
    return DestinationFault(
        FaultKind.DENIED,
        "The place refuses the credential: it does not reach that far, or no longer.",
    )


def not_understood() -> DestinationFault:
    return DestinationFault(
        FaultKind.NOT_UNDERSTOOD, "What answers there is no place of this kind."
    )


def conflict() -> DestinationFault:
    return DestinationFault(FaultKind.CONFLICT, "Somebody else has written there meanwhile.")


def _members(content: bytes) -> Mapping[str, object] | None:
    try:
        members = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return members if isinstance(members, dict) else None
