"""HashiCorp Vault and OpenBao: the key-value engine, version 2, by check and set.

1. A write puts the whole secret with the number that was read before it (`cas`), so that neither
   the value nor another field is lost to somebody who writes at the same time.
2. Where the latest version was deleted or destroyed the place holds nothing, and the next write
   counts on from its number.
3. A version is the number and the moment it was made: after all of a secret was taken away, Vault
   counts from 1 again.
4. A role logs in once an opened destination, and once more where its token is refused.

The token or role needs `read`, `create` and `update` on `<mount>/data/<path>`, and nothing else.
"""

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
from keyturn.destinations.place import DEFAULT_PATTERN, place_of
from keyturn.destinations.vault_login import VaultLogin
from keyturn.domain.ambience import Clock
from keyturn.domain.slot import SlotName
from keyturn.outbound.contract import Outbound

DEFAULT_MOUNT = "secret"
DEFAULT_APPROLE_MOUNT = "approle"
DEFAULT_FIELD = "api_key"

_MOUNT = re.compile(r"[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,7}", re.ASCII)
# No segment of dots alone: it would lead out of the mount.
_SEGMENT = r"(?!\.{1,2}(/|$))[A-Za-z0-9_.-]{1,255}"
_PATH = re.compile(rf"{_SEGMENT}(/{_SEGMENT}){{0,15}}", re.ASCII)
_FIELD = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)
_SECRET = re.compile(r"[!-~]{1,4096}", re.ASCII)


class VaultKind:
    name = "vault"
    about = "HashiCorp Vault or OpenBao, KV version 2"

    def __init__(self, outbound: Outbound, clock: Clock, *, seconds: float = SECONDS) -> None:
        self._outbound = outbound
        self._clock = clock
        self._seconds = seconds

    def check(
        self, config: Mapping[str, object], credential: Mapping[str, str]
    ) -> Mapping[str, object]:
        members = Members(config, credential)
        mount = "Give a mount, like `secret`: a-z, A-Z, 0-9, _ and -, parted by /."
        checked = {
            "address": members.server("address"),
            "mount": members.optional_text("mount", _MOUNT, mount) or DEFAULT_MOUNT,
            "path": members.place("path", _PATH, DEFAULT_PATTERN),
            "field": members.optional_text("field", _FIELD, "Give the name of a field.")
            or DEFAULT_FIELD,
            "namespace": members.optional_text("namespace", _MOUNT, "Give a namespace's path."),
            "approle_mount": members.optional_text("approle_mount", _MOUNT, mount)
            or DEFAULT_APPROLE_MOUNT,
            "ca_certificate": members.ca_certificate(),
        }
        _check_credential(members)
        members.end()
        return checked

    def open(self, opening: Opening) -> "VaultDestination":
        texts = {name: value for name, value in opening.config.items() if isinstance(value, str)}
        way = AllottedOutbound(
            self._outbound,
            self._clock,
            ca_certificate=texts.get("ca_certificate"),
            seconds=self._seconds,
        )
        server = JsonServer(way, texts["address"])
        login = VaultLogin(
            server,
            opening.credential,
            namespace=texts.get("namespace"),
            approle_mount=texts["approle_mount"],
        )
        return VaultDestination(
            way, login, mount=texts["mount"], pattern=texts["path"], field_name=texts["field"]
        )


def _check_credential(members: Members) -> None:
    wanted = "Give a `token`, or a `role_id` and a `secret_id`, without spaces."
    given = {
        name: members.optional_secret(name, _SECRET, wanted) is not None
        for name in ("token", "role_id", "secret_id")
    }
    has_role = given["role_id"] and given["secret_id"]
    if given["token"] == (given["role_id"] or given["secret_id"]) or not (
        given["token"] or has_role
    ):
        members.fault("/credential", wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Secret:
    """What stands there now: `number` is 0 where there never was anything."""

    number: int
    version: str
    fields: Mapping[str, object] = field(repr=False)


class VaultDestination:
    def __init__(
        self,
        way: AllottedOutbound,
        login: VaultLogin,
        *,
        mount: str,
        pattern: str,
        field_name: str,
    ) -> None:
        self._way = way
        self._login = login
        self._mount = mount
        self._pattern = pattern
        self._field = field_name

    def read(self, slot: SlotName) -> Held | None:
        self._way.begin()
        return self._held(self._get(slot))

    def write(self, slot: SlotName, value: str, expected: str | None) -> str:
        self._way.begin()
        secret = self._get(slot)
        held = self._held(secret)
        if (None if held is None else held.version) != expected:
            raise conflict()
        answer = self._login.call(
            "POST",
            self._path(slot),
            body={
                "options": {"cas": secret.number},
                "data": {**secret.fields, self._field: value},
            },
        )
        if _says(answer, "check-and-set"):
            raise conflict()
        if answer.status == 404:
            raise _no_mount()
        if not answer.is_success:
            raise _refusal(answer)
        number, version = _version(part(answer.members, "data"))
        if number != secret.number + 1:
            raise not_understood()
        return version

    def locate(self, slot: SlotName) -> str:
        return f"{self._mount}/{place_of(self._pattern, slot)}#{self._field}"

    def close(self) -> None:
        self._login.forget()

    def _path(self, slot: SlotName) -> str:
        return f"/v1/{self._mount}/data/{place_of(self._pattern, slot)}"

    def _get(self, slot: SlotName) -> _Secret:
        answer = self._login.call("GET", self._path(slot))
        if answer.status == 404 and answer.members.get("errors"):
            raise _no_mount()
        if answer.status != 404 and not answer.is_success:
            raise _refusal(answer)
        data = part(answer.members, "data")
        if answer.status == 404 and "metadata" not in data:
            if answer.members.get("errors") != []:  # so does Vault say it, and few others
                raise not_understood()
            return _Secret(number=0, version="", fields={})
        number, version = _version(part(data, "metadata"))
        return _Secret(number=number, version=version, fields=part(data, "data"))

    def _held(self, secret: _Secret) -> Held | None:
        value = secret.fields.get(self._field)
        if value is None:
            return None
        if not isinstance(value, str):
            raise DestinationFault(
                FaultKind.NOT_UNDERSTOOD, "The field that should hold the token is not a text."
            )
        return Held(value=value, version=secret.version)


def _version(metadata: Mapping[str, object]) -> tuple[int, str]:
    number, made = metadata.get("version"), metadata.get("created_time")
    if not isinstance(number, int) or isinstance(number, bool) or not isinstance(made, str):
        raise not_understood()
    return number, f"{number}@{made}"


def _says(answer: JsonAnswer, words: str) -> bool:
    errors = answer.members.get("errors")
    return (
        answer.status == 400
        and isinstance(errors, list)
        and any(isinstance(text, str) and words in text for text in errors)
    )


def _refusal(answer: JsonAnswer) -> DestinationFault:
    if _says(answer, "Upgrading"):  # for a moment after an engine was mounted, or became versioned
        return DestinationFault(
            FaultKind.BROKEN, "The key-value engine there is being made ready; it answers soon."
        )
    return status_fault(answer.status)


def _no_mount() -> DestinationFault:
    return DestinationFault(
        FaultKind.MISSING, "No key-value engine of version 2 is mounted there, in this namespace."
    )
