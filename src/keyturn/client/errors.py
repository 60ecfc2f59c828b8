"""What a client's call may raise.

    KeyturnClientError
      ConfigurationFault     the client was set up wrongly; nothing was sent
      ClientClosed           the client was closed before; nothing was sent
      SourceFault            the place that has the token gave none; nothing was sent
      Unreachable            no answer came
      NotUnderstood          an answer came that is not of Keyturn, or of another version
      ApiError               Keyturn refused, with a code
        Unauthenticated (401)  Forbidden (403)  NotFound (404)  Conflict (409)
        VersionMoved (412)     Invalid (422)    Unavailable (429, 503)
        EvidenceMissing, RollbackUnsafe: conflicts of a rotation, which say who is in the way
        KeysOpen, SelectionMoved: conflicts of an incident, which name its keys
      TokenLost              a key was made, but its token was shown before
      SecretLost             a webhook has a signing secret that was shown before
      Denied                 a verdict that was required to be valid is not

1. Each has a stable `code`; those of the client itself begin with `client.`. Each has the
   `request_id` by which the call is found in the logs, None where nothing was sent.
2. Nothing of these holds a token: not their text, not their members, not what they were raised
   from.
3. They can be pickled, so that a pool of processes hands them on.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec

from keyturn.client.record import Blocker, NamedKey
from keyturn.domain.redaction import redact

if TYPE_CHECKING:
    from keyturn.client.call import Answer


class KeyturnClientError(Exception):
    """The root of the tree; its text is one plain sentence."""

    code = "client.fault"
    request_id: str | None = None

    def __reduce__(self) -> tuple[object, ...]:
        # The constructors take keywords, which an exception's own way to be pickled forgets.
        return _again, (type(self), self.args, self.__dict__)


E = TypeVar("E", bound=KeyturnClientError)


def _again(kind: type[E], args: tuple[object, ...], members: dict[str, object]) -> E:
    error = kind.__new__(kind, *args)
    error.__dict__.update(members)
    return error


class ConfigurationFault(KeyturnClientError):
    """The client was set up wrongly: its address, its token, a number. Nothing was sent."""

    code = "client.configuration"


class ClientClosed(KeyturnClientError):
    """The client was closed before. Nothing was sent."""

    code = "client.closed"

    def __init__(self) -> None:
        super().__init__("This client is closed; make another.")


class SourceFault(KeyturnClientError):
    """The place that has the token gave none, and none was taken before. Nothing was sent. It
    `may_pass` where the same place may have one later."""

    code = "client.source"

    def __init__(self, detail: str, *, may_pass: bool = True) -> None:
        super().__init__(detail)
        self.may_pass = may_pass


class Unreachable(KeyturnClientError):
    """No answer came. `was_sent` says whether the call may have been carried out all the same;
    where it `is_safe` it changes nothing then either (RFC 9110, 9.2.1)."""

    code = "client.unreachable"

    def __init__(
        self, detail: str, *, was_sent: bool, request_id: str, is_safe: bool = False
    ) -> None:
        super().__init__(detail)
        self.was_sent = was_sent
        self.is_safe = is_safe
        self.request_id = request_id


class NotUnderstood(KeyturnClientError):
    """The answer, of this `status`, is none that this version knows: it came from something else
    at this address, perhaps a proxy, or was damaged. The call may have been carried out."""

    code = "client.not_understood"

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"The answer ({status}) cannot be understood: {why}.")
        self.status = status


@dataclass(frozen=True, slots=True)
class InvalidValue:
    """One value that was refused: where (a JSON pointer, RFC 6901) and why."""

    pointer: str
    detail: str


class ApiError(KeyturnClientError):
    """Keyturn refused. `code` is [stable](errors.md), `detail` one plain sentence, and
    `request_id` finds the call in its logs."""

    request_id: str

    def __init__(
        self,
        *,
        status: int,
        code: str,
        detail: str,
        request_id: str,
        errors: tuple[InvalidValue, ...] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{detail} ({code}, request {request_id})")
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.errors = errors
        self.retry_after_seconds = retry_after_seconds


class Unauthenticated(ApiError):
    """The token is missing, or it is not valid."""


class Forbidden(ApiError):
    """The token is valid, but may not do this."""


class NotFound(ApiError):
    """There is no such thing for this caller."""


class Conflict(ApiError):
    """The state of the thing does not allow it."""


class EvidenceMissing(Conflict):
    """A rotation cannot be completed on what is known; `blocked_by` says what is in the way."""

    blocked_by: tuple[Blocker, ...] = ()


class RollbackUnsafe(Conflict):
    """A rollback would cut off the workloads of `runtimes`, which use only the new key by now."""

    runtimes: tuple[str, ...] = ()


class KeysOpen(Conflict):
    """An incident cannot be closed: its `keys` are neither recovered nor waived."""

    keys: tuple[NamedKey, ...] = ()


class SelectionMoved(Conflict):
    """A selection holds another number of keys than was expected: these `keys`. Nothing was
    contained."""

    keys: tuple[NamedKey, ...] = ()


class VersionMoved(ApiError):
    """Somebody else changed it since that version."""


class Invalid(ApiError):
    """Values were refused; `errors` says which."""


class Unavailable(ApiError):
    """Not now; `retry_after_seconds` says when, if it is known."""


class TokenLost(KeyturnClientError):
    """The key was made, but the answer with its token was lost on the way. It cannot be shown
    again: revoke the key (`key_id`) and make another. (Of a workspace, `workspace_id`: make it a
    key.)"""

    code = "client.token_lost"

    def __init__(self, *, key_id: str | None = None, workspace_id: str | None = None) -> None:
        super().__init__(
            f"Key {key_id} was made, but its token was shown before and cannot be shown again; "
            "revoke it and make another."
            if workspace_id is None
            else f"Workspace {workspace_id} was made, but the token of its first key was shown "
            "before and cannot be shown again; make it another key."
        )
        self.key_id = key_id
        self.workspace_id = workspace_id


class TokenDelivered(KeyturnClientError):
    """The token of the key (`key_id`) is shown to nobody: it is delivered to `destinations`."""

    code = "client.token_delivered"

    def __init__(self, key_id: str, destinations: tuple[str, ...]) -> None:
        super().__init__(
            f"The token of key {key_id} is not shown: it is delivered to {', '.join(destinations)}."
        )
        self.key_id = key_id
        self.destinations = destinations


class SecretLost(KeyturnClientError):
    """The signing secret was made, but the answer with it was lost on the way. It cannot be shown
    again: give the channel (`channel_id`) another one."""

    code = "client.secret_lost"

    def __init__(self, channel_id: str) -> None:
        super().__init__(
            f"Channel {channel_id} has a signing secret that was shown before and cannot be shown "
            "again; give it another one."
        )
        self.channel_id = channel_id


class Denied(KeyturnClientError):
    """A verdict that was required to be valid is not; `code` says why not."""

    request_id: str

    def __init__(self, code: str, request_id: str) -> None:
        super().__init__(f"The token was denied ({code}, request {request_id}).")
        self.code = code
        self.request_id = request_id


_KINDS: dict[int, type[ApiError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: VersionMoved,
    422: Invalid,
    429: Unavailable,
    503: Unavailable,
}
_BY_CODE: dict[tuple[int, str], type[ApiError]] = {
    (409, "rotation.evidence_missing"): EvidenceMissing,
    (409, "rotation.rollback_unsafe"): RollbackUnsafe,
    (409, "incident.keys_open"): KeysOpen,
    (409, "incident.count_moved"): SelectionMoved,
}
_MEDIA_TYPE = "application/problem+json"


class _Fault(msgspec.Struct, frozen=True):
    pointer: str
    detail: str


class _Problem(msgspec.Struct, frozen=True):
    code: str
    detail: str
    request_id: str
    errors: list[_Fault] | None = None
    blocked_by: list[Blocker] | None = None
    runtimes: list[str] | None = None
    keys: list[NamedKey] | None = None


_decode = msgspec.json.Decoder(_Problem).decode


def error_of(answer: "Answer", retry_after_seconds: float | None) -> KeyturnClientError:
    """The error that an answer of 300 or more tells."""
    if 300 <= answer.status < 400:
        return NotUnderstood(
            answer.status, "it leads elsewhere, and a token is not sent on; name the right address"
        )
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
    if media_type.lower() != _MEDIA_TYPE:
        return NotUnderstood(answer.status, "it is no answer of Keyturn, perhaps of a proxy")
    try:
        problem = _decode(answer.content)
    except (ValueError, RecursionError):
        return NotUnderstood(answer.status, "its error is not of a form that is known")
    kind = _BY_CODE.get((answer.status, problem.code)) or _KINDS.get(answer.status, ApiError)
    error = kind(
        status=answer.status,
        code=redact(problem.code),
        detail=redact(problem.detail),
        request_id=redact(problem.request_id),
        errors=tuple(
            InvalidValue(redact(one.pointer), redact(one.detail)) for one in problem.errors or ()
        ),
        retry_after_seconds=retry_after_seconds,
    )
    match error:
        case EvidenceMissing():
            error.blocked_by = tuple(map(_redacted, problem.blocked_by or ()))
        case RollbackUnsafe():
            error.runtimes = tuple(map(redact, problem.runtimes or ()))
        case KeysOpen() | SelectionMoved():
            error.keys = tuple(
                NamedKey(key_id=redact(one.key_id), name=redact(one.name))
                for one in problem.keys or ()
            )
        case _:
            pass
    return error


def _redacted(one: Blocker) -> Blocker:
    return Blocker(
        code=redact(one.code),
        runtime=None if one.runtime is None else redact(one.runtime),
        detail=redact(one.detail),
    )
