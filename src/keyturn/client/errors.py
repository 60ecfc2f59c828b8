"""What a client's call may raise.

    KeyturnClientError
      ConfigurationFault     the client was set up wrongly; nothing was sent
      Unreachable            no answer came
      NotUnderstood          an answer came that is not of Keyturn, or of another version
      ApiError               Keyturn refused, with a code
        Unauthenticated (401)  Forbidden (403)  NotFound (404)  Conflict (409)
        VersionMoved (412)     Invalid (422)    Unavailable (429, 503)
      TokenLost              a key was made, but its token was shown before
      Denied                 a verdict that was required to be valid is not

Nothing of these holds a token.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keyturn.domain.redaction import redact

if TYPE_CHECKING:
    from keyturn.client.call import Answer


class KeyturnClientError(Exception):
    """The root of the tree; its text is one plain sentence."""


class ConfigurationFault(KeyturnClientError):
    """The client was set up wrongly."""


class Unreachable(KeyturnClientError):
    """No answer came. `was_sent` says whether the call may have been carried out all the same."""

    def __init__(self, detail: str, *, was_sent: bool, request_id: str) -> None:
        super().__init__(detail)
        self.was_sent = was_sent
        self.request_id = request_id


class NotUnderstood(KeyturnClientError):
    """The answer is none that this version knows."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"The answer ({status}) cannot be understood: {why}.")
        self.status = status


@dataclass(frozen=True, slots=True)
class InvalidValue:
    """One value that was refused: where (a JSON pointer, RFC 6901) and why."""

    pointer: str
    detail: str


class ApiError(KeyturnClientError):
    """Keyturn refused. `code` is stable (docs/reference/errors.md), `detail` one plain sentence,
    and `request_id` finds the call in its logs."""

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


class VersionMoved(ApiError):
    """Somebody else changed it since that version."""


class Invalid(ApiError):
    """Values were refused; `errors` says which."""


class Unavailable(ApiError):
    """Not now; `retry_after_seconds` says when, if it is known."""


class TokenLost(KeyturnClientError):
    """The key was made, but the answer with its token was lost on the way. It cannot be shown
    again: revoke the key (`key_id`) and make another."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"Key {key_id} was made, but its token was shown before and cannot be shown again; "
            "revoke it and make another."
        )
        self.key_id = key_id


class Denied(KeyturnClientError):
    """A verdict that was required to be valid is not; `code` says why not."""

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
_MEDIA_TYPE = "application/problem+json"


def error_of(answer: "Answer", retry_after_seconds: float | None) -> KeyturnClientError:
    """The error that an answer of 300 or more tells."""
    if 300 <= answer.status < 400:
        return NotUnderstood(
            answer.status, "it leads elsewhere, and a token is not sent on; name the right address"
        )
    if answer.headers.get("content-type", "").partition(";")[0].strip() != _MEDIA_TYPE:
        return NotUnderstood(answer.status, "it is no answer of Keyturn, perhaps of a proxy")
    try:
        problem = json.loads(answer.content)
        return _KINDS.get(answer.status, ApiError)(
            status=answer.status,
            code=str(problem["code"]),
            detail=redact(str(problem["detail"])),
            request_id=str(problem["request_id"]),
            errors=tuple(
                InvalidValue(str(one["pointer"]), redact(str(one["detail"])))
                for one in problem.get("errors") or ()
            ),
            retry_after_seconds=retry_after_seconds,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return NotUnderstood(answer.status, "its error is not of a form that is known")
