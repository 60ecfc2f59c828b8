"""Calls to Google Secret Manager by Google's client over REST, sent by the guarded way out.

1. The service account signs its own short tokens here (a JWT for this one service): no address for
   tokens is asked, and no credential of the machine is looked for.
2. It repeats nothing; what Google says beside its code is dropped.

Imported when a destination is opened: the client is the extra `gcp`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from google.api_core import exceptions as refusals
from google.api_core.client_options import ClientOptions
from google.auth import jwt
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from google.cloud.secretmanager_v1 import (
    Replication,
    Secret,
    SecretManagerServiceClient,
    SecretPayload,
    SecretVersion,
)
from google.cloud.secretmanager_v1.services.secret_manager_service.transports.rest import (
    SecretManagerServiceRestTransport,
)
from google.protobuf.json_format import ParseError

from keyturn.destinations.allotted import AllottedOutbound
from keyturn.destinations.contract import DestinationFault, FaultKind
from keyturn.destinations.requests_session import lead_through, make_session
from keyturn.destinations.vendor_logs import quieten

_AUDIENCE = "https://secretmanager.googleapis.com/"
_UNIVERSE = "googleapis.com"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    version: str
    content: bytes = field(repr=False)


class GcpClient:
    """The few calls that a destination makes. None where Google says that it is not there."""

    def __init__(
        self,
        *,
        project: str,
        endpoint: str,
        service_account: Mapping[str, str],
        way: AllottedOutbound,
    ) -> None:
        quieten("google", "google.auth", "google.cloud.secretmanager_v1")
        self._way = way
        self._parent = f"projects/{project}"
        try:
            credentials = jwt.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
                service_account, audience=_AUDIENCE
            )
        except (GoogleAuthError, ValueError, TypeError, KeyError):
            raise DestinationFault(
                FaultKind.DENIED, "The private key of the service account cannot be used."
            ) from None
        self._client = SecretManagerServiceClient(
            transport=_transport(credentials, endpoint, way),
            client_options=ClientOptions(universe_domain=_UNIVERSE),
        )
        quieten("google", "google.auth", "google.cloud.secretmanager_v1")

    def read(self, secret: str, version: str) -> Stored | None:
        """A version by its number or as `latest`; None also where it is disabled or destroyed."""
        name = f"{self._parent}/secrets/{secret}/versions/{version}"
        try:
            answer = self._ask(self._client.access_secret_version, name=name)
        except _Precondition:
            self._refuse_enabled(name)
            return None
        if answer is None:
            return None
        number, content = _number(answer.name), answer.payload.data
        described = self._describe(f"{self._parent}/secrets/{secret}/versions/{number}")
        return None if described is None else Stored(version=_version(described), content=content)

    def _refuse_enabled(self, name: str) -> None:
        """A version that is enabled and cannot be read is no version that is not there."""
        described = self._describe(name)
        if described is not None and described.state == SecretVersion.State.ENABLED:
            raise DestinationFault(
                FaultKind.BROKEN, "Google could not use the key that encrypts the secret."
            )

    def _describe(self, name: str) -> SecretVersion | None:
        return self._settled(self._client.get_secret_version, name=name)

    def create(self, secret: str) -> None:
        """Makes a secret without a version, replicated as Google chooses."""
        try:
            self._settled(
                self._client.create_secret,
                parent=self._parent,
                secret_id=secret,
                secret=Secret(replication=Replication(automatic=Replication.Automatic())),
            )
        except _Exists:
            return  # made in between, or by an earlier try that ended before its version was added

    def add(self, secret: str, content: bytes) -> str | None:
        """The version that is added; None where there is no such secret."""
        answer = self._settled(
            self._client.add_secret_version,
            parent=f"{self._parent}/secrets/{secret}",
            payload=SecretPayload(data=content),
        )
        return None if answer is None else _version(answer)

    def close(self) -> None:
        self._client.transport.close()  # type: ignore[no-untyped-call]

    def _settled(self, operation: Callable[..., T], **members: object) -> T | None:
        """A call that Google refuses only where something else stands in its way."""
        try:
            return self._ask(operation, **members)
        except _Precondition:
            raise DestinationFault(
                FaultKind.MISSING,
                "Google does not allow it as things are: a policy may forbid to make the secret,"
                " or the key that encrypts it is not to be had.",
            ) from None

    def _ask(self, operation: Callable[..., T], **members: object) -> T | None:
        try:
            return operation(**members, retry=None, timeout=self._way.remaining_seconds)
        except refusals.GoogleAPICallError as refusal:
            # Over REST the client tells them apart by the HTTP status alone: 400 is many things.
            match _status(refusal):
                case "NOT_FOUND":
                    return None
                case "FAILED_PRECONDITION":
                    raise _Precondition from None
                case "ALREADY_EXISTS":
                    raise _Exists from None
                case _:
                    raise _fault(refusal) from None
        except (ParseError, GoogleAuthError, ValueError, TypeError, AttributeError):
            raise not_understood() from None


class _Precondition(Exception):
    """Something stands in the way: a version's state, a policy, a key of encryption."""


class _Exists(Exception):
    """There is one by that name."""


def not_understood() -> DestinationFault:
    return DestinationFault(
        FaultKind.NOT_UNDERSTOOD, "What answers does not speak as Google Secret Manager does."
    )


def _transport(
    credentials: jwt.Credentials, endpoint: str, way: AllottedOutbound
) -> SecretManagerServiceRestTransport:
    scheme, _, host = endpoint.partition("://")
    transport = SecretManagerServiceRestTransport(
        credentials=credentials, host=host, url_scheme=scheme
    )
    session = transport._session
    if not isinstance(session, AuthorizedSession):  # else it would send past the guard
        raise DestinationFault(FaultKind.MISSING, "This version of Google's library is not known.")
    lead_through(session, way)
    # What it has for refreshing tokens leaves by the guard too, although these need no refreshing.
    session._auth_request.session = make_session(way)
    return transport


def _version(described: SecretVersion) -> str:
    """The number and the moment it was made: a secret that is made anew counts from 1 again."""
    made = described.create_time
    if made is None:
        raise not_understood()
    return f"{_number(described.name)}@{int(made.timestamp() * 1_000_000)}"


def _number(name: str) -> str:
    number = name.rpartition("/")[2]
    if not (number.isascii() and number.isdigit()):
        raise not_understood()
    return number


def _status(refusal: refusals.GoogleAPICallError) -> str:
    """Google's own word for what happened; empty where it is not Google that answers."""
    try:
        error = refusal.response.json()["error"]
        return str(error["status"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _fault(refusal: refusals.GoogleAPICallError) -> DestinationFault:
    status = refusal.code if isinstance(refusal.code, int) else 0
    if status in {401, 403}:
        return DestinationFault(
            FaultKind.DENIED,
            "Google denies this: the service account is not valid, or may not do it.",
        )
    if status == 429:
        return DestinationFault(FaultKind.BROKEN, "Google asks to be called less often.")
    if status == 409:
        return DestinationFault(FaultKind.CONFLICT, "Somebody else wrote the secret meanwhile.")
    if status >= 500:
        return DestinationFault(FaultKind.BROKEN, "Google has answered that it failed.")
    return DestinationFault(
        FaultKind.NOT_UNDERSTOOD,
        "Google has refused the request for a reason that is not known here.",
    )
