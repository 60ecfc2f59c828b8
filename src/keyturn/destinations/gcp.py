"""Google Secret Manager: each write adds a version, and `latest` is the one that is read.

1. Google adds a version whatever stands, and has no etag for it. So the latest is read once more
   right before, and versions are numbered in turn: where the new number does not follow the one
   that was read, somebody wrote in between, and that is told as a conflict. (The added version
   then stays: taking it away would leave `latest` without a value.)
2. Where the latest version is disabled or destroyed, nothing can be read: the place holds nothing,
   and a write adds the next.
3. A version is its number and the moment it was made: a secret that was deleted and made anew
   counts from 1 again.
4. A secret that is missing is made first. Where the write ends in between, the next one goes on
   with the empty secret.

The service account needs secretmanager.versions.access, .get and .add, and secretmanager.secrets.
create where secrets are not made beforehand.
"""

import hmac
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from keyturn.destinations.allotted import AllottedOutbound
from keyturn.destinations.contract import SECONDS, DestinationFault, FaultKind, Held, Opening
from keyturn.destinations.members import Members
from keyturn.destinations.place import place_of
from keyturn.destinations.service_account import parse_service_account, service_account_fault
from keyturn.domain.ambience import Clock
from keyturn.domain.slot import SlotName
from keyturn.outbound.contract import Outbound

if TYPE_CHECKING:
    from keyturn.destinations.gcp_client import GcpClient

DEFAULT_NAME = "keyturn-{slot}"
DEFAULT_ENDPOINT = "https://secretmanager.googleapis.com"
_LATEST = "latest"

_PROJECT = re.compile(r"([a-z0-9.-]{1,63}:)?[a-z0-9][a-z0-9-]{2,62}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_-]{0,128}", re.ASCII)
_ANY = re.compile(r".*", re.DOTALL)


class GcpKind:
    name = "gcp"
    about = "Google Secret Manager"

    def __init__(self, outbound: Outbound, clock: Clock, *, seconds: float = SECONDS) -> None:
        self._outbound = outbound
        self._clock = clock
        self._seconds = seconds

    def check(
        self, config: Mapping[str, object], credential: Mapping[str, str]
    ) -> Mapping[str, object]:
        members = Members(config, credential)
        checked = {
            "project": members.text("project", _PROJECT, "Give the id of a project."),
            "name": members.pattern("name", _NAME, DEFAULT_NAME),
            "endpoint": members.address("endpoint"),
            "ca_certificate": members.ca_certificate(),
        }
        text = members.secret(
            "service_account", _ANY, "Give the JSON text of a service account's key."
        )
        if text:
            fault = service_account_fault(text, has_endpoint=checked["endpoint"] is not None)
            if fault is not None:
                members.fault("/credential/service_account", fault)
        members.end()
        return checked

    def open(self, opening: Opening) -> "GcpDestination":
        try:
            from keyturn.destinations.gcp_client import GcpClient
        except ImportError:
            raise DestinationFault(
                FaultKind.MISSING, "The library for Google is not here; install `keyturn[gcp]`."
            ) from None
        config = opening.config
        certificate, endpoint = config.get("ca_certificate"), config.get("endpoint")
        way = AllottedOutbound(
            self._outbound,
            self._clock,
            ca_certificate=certificate if isinstance(certificate, str) else None,
            servers=(endpoint,) if isinstance(endpoint, str) else (DEFAULT_ENDPOINT,),
            seconds=self._seconds,
        )
        client = GcpClient(
            project=str(config["project"]),
            endpoint=endpoint if isinstance(endpoint, str) else DEFAULT_ENDPOINT,
            service_account=parse_service_account(opening.credential["service_account"]) or {},
            way=way,
        )
        return GcpDestination(
            client, way, project=str(config["project"]), pattern=str(config["name"])
        )


class GcpDestination:
    def __init__(
        self, client: "GcpClient", way: AllottedOutbound, *, project: str, pattern: str
    ) -> None:
        self._client = client
        self._way = way
        self._project = project
        self._pattern = pattern

    def read(self, slot: SlotName) -> Held | None:
        self._way.begin()
        return self._latest(place_of(self._pattern, slot))

    def write(self, slot: SlotName, value: str, expected: str | None) -> str:
        self._way.begin()
        name = place_of(self._pattern, slot)
        held = self._latest(name)
        if (held.version if held is not None else None) != expected:
            raise DestinationFault(
                FaultKind.CONFLICT, "Another version of the secret is the latest than was read."
            )
        version = self._add(name, value.encode())
        self._read_back(name, value, version)
        if expected is not None and _number_of(version) != _number_of(expected) + 1:
            raise DestinationFault(
                FaultKind.CONFLICT, "Somebody else has added a version at the same time."
            )
        return version

    def locate(self, slot: SlotName) -> str:
        return f"gcp:projects/{self._project}/secrets/{place_of(self._pattern, slot)}"

    def close(self) -> None:
        self._client.close()

    def _latest(self, name: str) -> Held | None:
        stored = self._client.read(name, _LATEST)
        if stored is None:
            return None
        try:
            return Held(value=stored.content.decode(), version=stored.version)
        except UnicodeDecodeError:
            raise DestinationFault(
                FaultKind.NOT_UNDERSTOOD, "The secret in Google has no text that could be read."
            ) from None

    def _add(self, name: str, content: bytes) -> str:
        version = self._client.add(name, content)
        if version is None:
            self._client.create(name)
            version = self._client.add(name, content)
        if version is None:
            raise DestinationFault(FaultKind.MISSING, "There is no such project in Google.")
        return version

    def _read_back(self, name: str, value: str, version: str) -> None:
        stored = self._client.read(name, str(_number_of(version)))
        if stored is None or not hmac.compare_digest(stored.content, value.encode()):
            raise DestinationFault(
                FaultKind.BROKEN, "Google has accepted the value and does not give it back."
            )


def _number_of(version: str) -> int:
    """Of a version that the client has told."""
    return int(version.partition("@")[0])
