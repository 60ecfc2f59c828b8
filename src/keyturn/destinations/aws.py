"""AWS Secrets Manager, written by stages.

1. A new value is put as AWSPENDING, read back by its own version, and then AWSCURRENT is moved to
   it from the version that was read: AWS moves the label only from there, which is the compare and
   set. The old version becomes AWSPREVIOUS.
2. A version's id is made from the value and the version that it replaces. So a write that is done
   again, after a crash between the stages or an answer that was lost, meets its own version and
   goes on with it.
3. AWSPENDING of a version that is not ours is somebody's rotation in progress: a conflict.
4. With `field`, the secret is a JSON object and the token its member; the others stay.

The credential needs GetSecretValue, DescribeSecret, PutSecretValue, UpdateSecretVersionStage, and
CreateSecret where secrets are not made beforehand.
"""

import contextlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from keyturn.destinations.allotted import AllottedOutbound
from keyturn.destinations.aws_faults import fault_of
from keyturn.destinations.contract import SECONDS, DestinationFault, FaultKind, Held, Opening
from keyturn.destinations.json_field import read_field, with_field
from keyturn.destinations.members import Members
from keyturn.destinations.place import DEFAULT_PATTERN, place_of
from keyturn.domain.ambience import Clock
from keyturn.domain.slot import SlotName
from keyturn.outbound.contract import Outbound

if TYPE_CHECKING:
    from keyturn.destinations.aws_client import AwsKeys
    from keyturn.destinations.aws_login import AwsLogin

_OURS = "keyturn-"  # what the id of each version of ours begins with
_CURRENT, _PENDING = "AWSCURRENT", "AWSPENDING"

_REGION = re.compile(r"[a-z]{2,4}(-[a-z]{2,12}){1,3}-[0-9]{1,2}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{0,400}", re.ASCII)
_FIELD = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_KEY_ID = re.compile(r"[A-Za-z0-9]{16,128}", re.ASCII)
_KEY = re.compile(r"[!-~]{16,256}", re.ASCII)
_SESSION = re.compile(r"[!-~]{1,16384}", re.ASCII)
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,512}", re.ASCII)
_EXTERNAL_ID = re.compile(r"[A-Za-z0-9+=,.@:/-]{2,1224}", re.ASCII)


class AwsKind:
    name = "aws"
    about = "AWS Secrets Manager, with version stages"

    def __init__(self, outbound: Outbound, clock: Clock, *, seconds: float = SECONDS) -> None:
        self._outbound = outbound
        self._clock = clock
        self._seconds = seconds

    def check(
        self, config: Mapping[str, object], credential: Mapping[str, str]
    ) -> Mapping[str, object]:
        members = Members(config, credential)
        checked = {
            "region": members.text("region", _REGION, "Give a region of AWS, as `eu-central-1`."),
            "name": members.pattern("name", _NAME, DEFAULT_PATTERN),
            "field": members.optional_text(
                "field", _FIELD, "Give the name of a member of the secret's JSON object."
            ),
            "endpoint": members.address("endpoint"),
            "sts_endpoint": members.address("sts_endpoint"),
            "ca_certificate": members.ca_certificate(),
        }
        members.secret("access_key_id", _KEY_ID, "Give the id of an access key.")
        members.secret("secret_access_key", _KEY, "Give the access key's secret.")
        members.optional_secret("session_token", _SESSION, "Give the token of a session.")
        role = members.optional_secret("role_arn", _ROLE, "Give the ARN of a role.")
        external = members.optional_secret("external_id", _EXTERNAL_ID, "Give an external id.")
        if external is not None and role is None:
            members.fault("/credential/external_id", "It is sent with a role only: give role_arn.")
        members.end()
        return checked

    def open(self, opening: Opening) -> "AwsDestination":
        try:
            from keyturn.destinations.aws_client import AwsKeys
            from keyturn.destinations.aws_login import AwsLogin
        except ImportError:
            raise DestinationFault(
                FaultKind.MISSING, "The library for AWS is not here; install `keyturn[aws]`."
            ) from None
        config = {name: _text(value) for name, value in opening.config.items()}
        way = AllottedOutbound(
            self._outbound,
            self._clock,
            ca_certificate=config["ca_certificate"],
            seconds=self._seconds,
        )
        login = AwsLogin(
            way,
            self._clock,
            region=config["region"] or "",
            endpoints={"secretsmanager": config["endpoint"], "sts": config["sts_endpoint"]},
            keys=_keys(AwsKeys, opening.credential),
            role_arn=opening.credential.get("role_arn"),
            external_id=opening.credential.get("external_id"),
        )
        return AwsDestination(
            login, way, pattern=config["name"] or DEFAULT_PATTERN, member=config["field"]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Secret:
    """The version that is AWSCURRENT: all of its text, and the token in it, if there is one."""

    version: str
    text: str = field(repr=False)
    value: str | None = field(repr=False)


class AwsDestination:
    def __init__(
        self, login: "AwsLogin", way: AllottedOutbound, *, pattern: str, member: str | None
    ) -> None:
        self._login = login
        self._way = way
        self._pattern = pattern
        self._member = member

    def read(self, slot: SlotName) -> Held | None:
        self._way.begin()
        return _held(self._current(self._name(slot)))

    def write(self, slot: SlotName, value: str, expected: str | None) -> str:
        self._way.begin()
        name = self._name(slot)
        current = self._current(name)
        held = _held(current)
        if held is not None and held.version == _version_id(name, value, expected):
            return held.version  # this very write, of which the answer was lost
        if (held.version if held is not None else None) != expected:
            raise _conflict()
        base = current.version if current is not None else None
        version = _version_id(name, value, base)
        text = value
        if self._member is not None:
            text = with_field(current.text if current is not None else None, self._member, value)
        if current is None and (created := self._create(name, text, version)) is not None:
            return created
        self._stage(name, text, version)
        self._move(name, version, base)
        return version

    def locate(self, slot: SlotName) -> str:
        member = "" if self._member is None else f"#{self._member}"
        return f"aws:{self._login.region}:{self._name(slot)}{member}"

    def close(self) -> None:
        self._login.close()

    def _name(self, slot: SlotName) -> str:
        return place_of(self._pattern, slot)

    def _current(self, name: str) -> _Secret | None:
        answer = self._get(name, VersionStage=_CURRENT)
        if answer is None:
            return None
        version, text = answer
        value = text if self._member is None else read_field(text, self._member)
        return _Secret(version=version, text=text, value=value)

    def _current_version(self, name: str) -> str | None:
        answer = self._get(name, VersionStage=_CURRENT)
        return None if answer is None else answer[0]

    def _get(self, name: str, **of: str) -> tuple[str, str] | None:
        """A version's id and its text; None where there is none."""
        answer = self._call(
            "get_secret_value", {"SecretId": name, **of}, none_for="ResourceNotFoundException"
        )
        if answer is None:
            return None
        version, text = answer.get("VersionId"), answer.get("SecretString")
        if not isinstance(version, str) or not isinstance(text, str):
            raise DestinationFault(
                FaultKind.NOT_UNDERSTOOD, "The secret in AWS has no text that could be read."
            )
        return version, text

    def _create(self, name: str, text: str, version: str) -> str | None:
        """The version of the secret that is made; None where there is a secret by that name (one
        without a current version, or one that was made in between, which `_move` will tell)."""
        answer = self._call(
            "create_secret",
            {"Name": name, "SecretString": text, "ClientRequestToken": version},
            none_for="ResourceExistsException",
        )
        if answer is None:
            return None
        created = answer.get("VersionId")
        if not isinstance(created, str):
            raise fault_of("", 0)
        self._read_back(name, text, created)
        return created

    def _stage(self, name: str, text: str, version: str) -> None:
        for pending, is_current in self._pending(name).items():
            if pending.startswith(_OURS):
                if pending != version:  # left behind by a write of ours that died
                    self._unstage(name, pending)
            elif not is_current:  # there it is what a finished rotation has left
                raise DestinationFault(
                    FaultKind.CONFLICT,
                    "Another rotation of this secret is in progress in AWS (AWSPENDING is taken).",
                )
        self._call(
            "put_secret_value",
            {
                "SecretId": name,
                "SecretString": text,
                "ClientRequestToken": version,
                "VersionStages": [_PENDING],
            },
        )
        self._read_back(name, text, version)

    def _pending(self, name: str) -> dict[str, bool]:
        """The versions that are pending, and whether they are current too."""
        answer = self._call("describe_secret", {"SecretId": name}) or {}
        stages = answer.get("VersionIdsToStages")
        if not isinstance(stages, dict):
            return {}
        return {
            str(one): _CURRENT in labels for one, labels in stages.items() if _PENDING in labels
        }

    def _unstage(self, name: str, version: str) -> None:
        self._call(
            "update_secret_version_stage",
            {"SecretId": name, "VersionStage": _PENDING, "RemoveFromVersionId": version},
            none_for="InvalidParameterException",
        )

    def _read_back(self, name: str, text: str, version: str) -> None:
        stored = self._get(name, VersionId=version)
        if stored is None or not hmac.compare_digest(stored[1].encode(), text.encode()):
            raise DestinationFault(
                FaultKind.BROKEN, "AWS has accepted the value and does not give it back."
            )

    def _move(self, name: str, version: str, base: str | None) -> None:
        move = {"SecretId": name, "VersionStage": _CURRENT, "MoveToVersionId": version}
        if base is not None:
            move["RemoveFromVersionId"] = base
        answer = self._call(
            "update_secret_version_stage", move, none_for="InvalidParameterException"
        )
        # Whether it is moved or not, nothing is pending any more. Where this fails, the label stays
        # on a version of ours, which the next write takes over.
        with contextlib.suppress(DestinationFault):
            self._unstage(name, version)
        # AWS also refuses to move a label to where it is already.
        if answer is None and self._current_version(name) != version:
            raise _conflict()

    def _call(
        self, operation: str, members: Mapping[str, object], none_for: str = ""
    ) -> Mapping[str, object] | None:
        from keyturn.destinations.aws_client import AwsRefusal

        try:
            return self._login.client().call(operation, **members)
        except AwsRefusal as refusal:
            if refusal.code == none_for:
                return None
            raise fault_of(refusal.code, refusal.status) from None


def _version_id(name: str, value: str, base: str | None) -> str:
    """Tells nothing of the value to who does not hold it."""
    told = json.dumps([name, base]).encode()
    return _OURS + hmac.new(value.encode(), told, sha256).hexdigest()[:48]


def _held(secret: _Secret | None) -> Held | None:
    if secret is None or secret.value is None:
        return None
    return Held(value=secret.value, version=secret.version)


def _conflict() -> DestinationFault:
    return DestinationFault(
        FaultKind.CONFLICT, "Another version of the secret is current than the one that was read."
    )


def _keys(kind: "type[AwsKeys]", credential: Mapping[str, str]) -> "AwsKeys":
    return kind(
        access_key_id=credential["access_key_id"],
        secret_access_key=credential["secret_access_key"],
        session_token=credential.get("session_token"),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
