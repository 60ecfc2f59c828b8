"""A Kubernetes Secret, by the API server's own REST interface.

1. A write is a merge patch of the one field, bound to the resource version that was read: the
   server keeps all else and refuses where anything of the object has changed since.
2. Where there is no such object it is made; who comes second is refused.
3. An object that is marked immutable stays as it is: its owner must replace it.

The account needs `get`, `create` and `patch` on secrets in the namespace, and nothing else.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from keyturn.destinations.allotted import AllottedOutbound
from keyturn.destinations.contract import (
    SECONDS,
    DestinationFault,
    FaultKind,
    Held,
    Opening,
)
from keyturn.destinations.json_server import (
    JsonAnswer,
    JsonServer,
    conflict,
    not_understood,
    part,
    status_fault,
)
from keyturn.destinations.members import Members
from keyturn.destinations.place import place_of
from keyturn.domain.ambience import Clock
from keyturn.domain.slot import SlotName
from keyturn.outbound.contract import Outbound

DEFAULT_NAME = "{slot}"
DEFAULT_FIELD = "api_key"

_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_LABEL = r"[a-z0-9]([a-z0-9-]{0,126}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL}){{0,7}}", re.ASCII)
_FIELD = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,253}", re.ASCII)
_TOKEN = re.compile(r"[!-~]{1,16384}", re.ASCII)


class KubernetesKind:
    name = "kubernetes"
    about = "A Secret in a namespace of Kubernetes"

    def __init__(self, outbound: Outbound, clock: Clock, *, seconds: float = SECONDS) -> None:
        self._outbound = outbound
        self._clock = clock
        self._seconds = seconds

    def check(
        self, config: Mapping[str, object], credential: Mapping[str, str]
    ) -> Mapping[str, object]:
        members = Members(config, credential)
        checked = {
            "address": members.server("address"),
            "namespace": members.text("namespace", _NAMESPACE, "Give the name of a namespace."),
            "name": members.place("name", _NAME, DEFAULT_NAME),
            "field": members.optional_text("field", _FIELD, "Give the name of a field.")
            or DEFAULT_FIELD,
            "ca_certificate": members.ca_certificate(),
        }
        members.secret("token", _TOKEN, "Give the token of a service account.")
        members.end()
        return checked

    def open(self, opening: Opening) -> "KubernetesDestination":
        texts = {name: value for name, value in opening.config.items() if isinstance(value, str)}
        way = AllottedOutbound(
            self._outbound,
            self._clock,
            ca_certificate=texts.get("ca_certificate"),
            seconds=self._seconds,
        )
        return KubernetesDestination(
            way,
            JsonServer(way, texts["address"]),
            token=opening.credential["token"],
            namespace=texts["namespace"],
            pattern=texts["name"],
            field_name=texts["field"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Object:
    version: str
    is_immutable: bool
    held: Held | None = field(repr=False)


class KubernetesDestination:
    def __init__(
        self,
        way: AllottedOutbound,
        server: JsonServer,
        *,
        token: str,
        namespace: str,
        pattern: str,
        field_name: str,
    ) -> None:
        self._way = way
        self._server = server
        self._headers = {"Authorization": f"Bearer {token}"}
        self._namespace = namespace
        self._pattern = pattern
        self._field = field_name

    def read(self, slot: SlotName) -> Held | None:
        self._way.begin()
        found = self._get(place_of(self._pattern, slot))
        return None if found is None else found.held

    def write(self, slot: SlotName, value: str, expected: str | None) -> str:
        self._way.begin()
        name = place_of(self._pattern, slot)
        found = self._get(name)
        held = None if found is None else found.held
        if (None if held is None else held.version) != expected:
            raise conflict()
        data = {self._field: base64.b64encode(value.encode()).decode()}
        answer = self._create(name, data) if found is None else self._patch(name, data, found)
        stored = _read_object(answer, self._field)
        if stored.held is None or stored.held.value != value:
            raise not_understood()
        return stored.version

    def locate(self, slot: SlotName) -> str:
        return f"{self._namespace}/{place_of(self._pattern, slot)}#{self._field}"

    def close(self) -> None:
        self._headers = {}

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self._namespace}/secrets"

    def _get(self, name: str) -> _Object | None:
        answer = self._server.call("GET", f"{self._path}/{name}", headers=self._headers)
        if answer.status == 404:
            if answer.members.get("kind") != "Status":
                raise not_understood()
            return None
        if not answer.is_success:
            raise status_fault(answer.status)
        return _read_object(answer, self._field)

    def _create(self, name: str, data: Mapping[str, str]) -> JsonAnswer:
        answer = self._server.call(
            "POST",
            self._path,
            headers=self._headers,
            body={
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "Opaque",
                "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "keyturn"}},
                "data": data,
            },
        )
        if answer.status == 404:
            raise DestinationFault(FaultKind.MISSING, "There is no such namespace.")
        return _judged(answer)

    def _patch(self, name: str, data: Mapping[str, str], found: _Object) -> JsonAnswer:
        if found.is_immutable:
            raise DestinationFault(
                FaultKind.DENIED,
                "The secret is marked immutable and cannot be changed; replace it by one that can.",
            )
        answer = self._server.call(
            "PATCH",
            f"{self._path}/{name}",
            headers=self._headers,
            body={"metadata": {"resourceVersion": found.version}, "data": data},
            content_type="application/merge-patch+json",
        )
        if answer.status == 404:  # it was there a moment ago
            raise conflict()
        return _judged(answer)


def _judged(answer: JsonAnswer) -> JsonAnswer:
    if answer.status == 409:
        raise conflict()
    if answer.status == 422:
        raise DestinationFault(FaultKind.DENIED, "Kubernetes does not take such a secret there.")
    if not answer.is_success:
        raise status_fault(answer.status)
    return answer


def _read_object(answer: JsonAnswer, field_name: str) -> _Object:
    version = part(answer.members, "metadata").get("resourceVersion")
    if answer.members.get("kind") != "Secret" or not isinstance(version, str) or not version:
        raise not_understood()
    encoded = part(answer.members, "data").get(field_name)
    held = None if encoded is None else Held(value=_decoded(encoded), version=version)
    return _Object(version=version, is_immutable=answer.members.get("immutable") is True, held=held)


def _decoded(encoded: object) -> str:
    if not isinstance(encoded, str):
        raise not_understood()
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        raise DestinationFault(
            FaultKind.NOT_UNDERSTOOD, "The field that should hold the token is not a text."
        ) from None
