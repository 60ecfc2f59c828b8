"""Errors as `application/problem+json` (RFC 9457): the one map from our errors to HTTP."""

import json
import logging

from keyturn.domain.error import (
    BodyTimeout,
    BodyTooLarge,
    ChannelInactive,
    CheckInMissing,
    CredentialAmbiguous,
    CredentialInUrl,
    CredentialInvalid,
    CredentialMissing,
    DeliveryClosed,
    DeliveryLast,
    DestinationBusy,
    DestinationExists,
    DestinationInUse,
    DestinationUnproven,
    EvidenceMissing,
    Fault,
    FreshnessLost,
    GrantExceeded,
    IdempotencyMismatch,
    IdempotencyRunning,
    IncidentClosed,
    IncidentCountMoved,
    IncidentKeysOpen,
    IncidentNoKey,
    IntegrityFailed,
    KeyContained,
    KeyTerminal,
    KeyturnError,
    MediaTypeUnsupported,
    MethodNotAllowed,
    NetworkDenied,
    NotFound,
    PermissionMissing,
    RecordingSaturated,
    RequestInvalid,
    RequestMalformed,
    RevealRefused,
    RollbackUnsafe,
    RotationClosed,
    RotationOpen,
    RotationWider,
    RouteUnknown,
    StorageUnavailable,
    VersionMoved,
    WorkspaceDenied,
    WorkspaceRequired,
)
from keyturn.domain.redaction import redact

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:keyturn:error:"
MOST_FAULTS = 20

STATUS: dict[type[KeyturnError], int] = {
    RequestMalformed: 400,
    CredentialAmbiguous: 400,
    CredentialInUrl: 400,
    WorkspaceRequired: 400,
    CredentialMissing: 401,
    CredentialInvalid: 401,
    PermissionMissing: 403,
    GrantExceeded: 403,
    NetworkDenied: 403,
    WorkspaceDenied: 403,
    RouteUnknown: 404,
    NotFound: 404,
    MethodNotAllowed: 405,
    BodyTimeout: 408,
    KeyTerminal: 409,
    KeyContained: 409,
    IncidentClosed: 409,
    IncidentCountMoved: 409,
    IncidentKeysOpen: 409,
    ChannelInactive: 409,
    RotationClosed: 409,
    RotationOpen: 409,
    CheckInMissing: 409,
    DeliveryClosed: 409,
    DeliveryLast: 409,
    DestinationExists: 409,
    DestinationInUse: 409,
    DestinationUnproven: 409,
    EvidenceMissing: 409,
    RevealRefused: 409,
    RollbackUnsafe: 409,
    IntegrityFailed: 409,
    IdempotencyRunning: 409,
    VersionMoved: 412,
    BodyTooLarge: 413,
    MediaTypeUnsupported: 415,
    RequestInvalid: 422,
    RotationWider: 422,
    IncidentNoKey: 422,
    IdempotencyMismatch: 422,
    DestinationBusy: 429,
    StorageUnavailable: 503,
    FreshnessLost: 503,
    RecordingSaturated: 503,
}

_log = logging.getLogger("keyturn.http")

_CHALLENGE = 'Bearer realm="keyturn"'
_RETRY_AFTER_SECONDS = "1"
_PROOF_SECONDS = "5"


def status_of(error: KeyturnError) -> int:
    """The HTTP status of an error: its own class's, else that of the nearest base; 500 for none."""
    for base in type(error).__mro__:
        if base in STATUS:
            return STATUS[base]
    return 500


def log_cause(error: KeyturnError, request_id: str) -> None:
    """Logs what is behind a failure of ours: the caller is told only that there was one."""
    if status_of(error) >= 500:
        _log.error(error.detail, exc_info=error, extra={"request_id": request_id})


def headers_of(error: KeyturnError) -> dict[str, str]:
    """The headers that belong to an error."""
    match error:
        case CredentialMissing():
            return {"WWW-Authenticate": _CHALLENGE}
        case CredentialInvalid():
            return {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'}
        case StorageUnavailable() | RecordingSaturated() | FreshnessLost() | IdempotencyRunning():
            return {"Retry-After": _RETRY_AFTER_SECONDS}
        case DestinationBusy():
            return {"Retry-After": _PROOF_SECONDS}
        case MethodNotAllowed(allow=allow):
            return {"Allow": allow} if allow else {}
        case BodyTimeout() | BodyTooLarge():
            # The rest of the body would be read as the next request.
            return {"Connection": "close"}
        case _:
            return {}


def problem(error: KeyturnError, request_id: str) -> bytes:
    """The body of an error's answer."""
    members: dict[str, object] = {
        "type": TYPE_PREFIX + error.code,
        "title": error.title,
        "status": status_of(error),
        "detail": redact(error.detail),
        "code": error.code,
        "request_id": request_id,
    }
    if isinstance(error, RequestInvalid):
        members["errors"] = [_spelled(fault) for fault in error.faults[:MOST_FAULTS]]
    if isinstance(error, EvidenceMissing):
        members["blocked_by"] = [
            {"code": one.code, "runtime": one.runtime, "detail": one.detail}
            for one in error.blocked_by
        ]
    if isinstance(error, RollbackUnsafe):
        members["runtimes"] = list(error.runtimes)
    if isinstance(error, IncidentCountMoved | IncidentKeysOpen):
        members["keys"] = [{"key_id": id_, "name": redact(name)} for id_, name in error.keys]
    if isinstance(error, IncidentNoKey):
        members["errors"] = [{"pointer": "", "detail": error.detail}]
    if isinstance(error, IdempotencyMismatch):
        members["errors"] = [{"pointer": "", "detail": error.detail}]
    return json.dumps(members).encode()


def _spelled(fault: Fault) -> dict[str, str]:
    return {"pointer": redact(fault.pointer), "detail": redact(fault.detail)}
