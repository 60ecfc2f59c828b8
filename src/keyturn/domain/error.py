"""Every refusal that Keyturn can give: a stable code, one public sentence, a private cause.

The code and the sentence are for callers and never hold a secret; the cause (`__cause__`) is for
the log. HTTP status and exit code are maps at the rim, not properties of an error.
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with an input: where (a JSON pointer, RFC 6901) and what."""

    pointer: str
    detail: str


class KeyturnError(Exception):
    """The root of the tree. `code` is stable and documented; `detail` is one plain sentence."""

    code: ClassVar[str] = "internal.error"
    title: ClassVar[str] = "Something failed inside Keyturn"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class RequestMalformed(KeyturnError):
    code = "request.malformed"
    title = "The request cannot be read"


class RequestInvalid(KeyturnError):
    """The request can be read, but its values cannot be accepted. Lists every fault found."""

    code = "request.invalid"
    title = "The request has invalid values"

    def __init__(self, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.faults = faults

    @classmethod
    def at(cls, pointer: str, detail: str) -> "RequestInvalid":
        return cls(detail, (Fault(pointer=pointer, detail=detail),))


class BodyTooLarge(KeyturnError):
    code = "request.too_large"
    title = "The body is too large"


class BodyTimeout(KeyturnError):
    code = "request.timeout"
    title = "The body did not arrive in time"


class MediaTypeUnsupported(KeyturnError):
    code = "request.media_type"
    title = "The media type is not supported"


class RouteUnknown(KeyturnError):
    code = "route.unknown"
    title = "There is nothing at this path"


class MethodNotAllowed(KeyturnError):
    """`allow` names the methods that the path has, separated by commas."""

    code = "route.method"
    title = "The path does not have this method"

    def __init__(self, detail: str, *, allow: str = "") -> None:
        super().__init__(detail)
        self.allow = allow


class CredentialMissing(KeyturnError):
    code = "credential.missing"
    title = "A token is needed"


class CredentialInvalid(KeyturnError):
    """One answer for malformed, unknown, wrong, revoked, suspended and expired tokens alike."""

    code = "credential.invalid"
    title = "The token is not valid"


class CredentialAmbiguous(KeyturnError):
    code = "credential.ambiguous"
    title = "Two different tokens were sent"


class CredentialInUrl(KeyturnError):
    code = "credential.in_url"
    title = "A token stands in the URL"


class PermissionMissing(KeyturnError):
    """The caller is known, but may not do this; the sentence names the permission."""

    code = "permission.missing"
    title = "A permission is missing"


class GrantExceeded(KeyturnError):
    """The caller would give, or touch, more than it holds itself."""

    code = "grant.exceeded"
    title = "The caller would grant more than it holds"


class NetworkDenied(KeyturnError):
    code = "network.denied"
    title = "The caller's network is not allowed"


class WorkspaceRequired(KeyturnError):
    code = "workspace.required"
    title = "A workspace must be named"


class WorkspaceDenied(KeyturnError):
    code = "workspace.denied"
    title = "The token belongs to another workspace"


class NotFound(KeyturnError):
    """What was named does not exist for this caller."""


class KeyUnknown(NotFound):
    code = "key.unknown"
    title = "There is no such key"


class SlotUnknown(NotFound):
    code = "slot.unknown"
    title = "There is no such slot"


class WorkspaceUnknown(NotFound):
    code = "workspace.unknown"
    title = "There is no such workspace"


class OperatorUnknown(NotFound):
    code = "operator.unknown"
    title = "There is no such operator"


class RotationUnknown(NotFound):
    code = "rotation.unknown"
    title = "There is no such rotation"


class FindingUnknown(NotFound):
    code = "finding.unknown"
    title = "There is no such finding"


class DestinationUnknown(NotFound):
    code = "destination.unknown"
    title = "There is no such destination"


class DestinationExists(KeyturnError):
    """The name is taken: a destination is changed by PATCH, not made twice."""

    code = "destination.exists"
    title = "The destination exists already"


class DestinationUnproven(KeyturnError):
    """Nothing is delivered to a destination that has not been proven."""

    code = "destination.unproven"
    title = "The destination is not proven"


class DestinationInUse(KeyturnError):
    """A slot names the destination, or something is on its way there."""

    code = "destination.in_use"
    title = "The destination is in use"


class DestinationBusy(KeyturnError):
    """As many destinations are being proven as may be at once. Nothing has happened."""

    code = "destination.busy"
    title = "Destinations are being proven"


class DeliveryUnknown(NotFound):
    code = "delivery.unknown"
    title = "There is no such delivery"


class DeliveryClosed(KeyturnError):
    """The delivery has ended, or is done."""

    code = "delivery.closed"
    title = "The delivery has ended"


class DeliveryLast(KeyturnError):
    """Without this delivery nobody would have the token of a key that works."""

    code = "delivery.last"
    title = "Nobody else has the token"


class RevealRefused(KeyturnError):
    """The workspace shows no token to anybody, and there is no destination for it."""

    code = "reveal.refused"
    title = "This workspace shows no token"


class ChannelUnknown(NotFound):
    code = "channel.unknown"
    title = "There is no such channel"


class PostureWaiverUnknown(NotFound):
    code = "posture.waiver_unknown"
    title = "There is no such waiver"


class MessageUnknown(NotFound):
    code = "message.unknown"
    title = "There is no such message"


class ChannelInactive(KeyturnError):
    """The channel is paused, or was given up on: it sends nothing."""

    code = "channel.inactive"
    title = "The channel is not active"


class IncidentUnknown(NotFound):
    code = "incident.unknown"
    title = "There is no such incident"


class IncidentNoKey(KeyturnError):
    """What was given to contain names no key. Nothing was contained."""

    code = "incident.no_key"
    title = "Nothing given is a key"


class IncidentCountMoved(KeyturnError):
    """A selection holds another number of keys than its caller expected. Nothing was contained.
    `keys` are the (id, name) of those that it holds now."""

    code = "incident.count_moved"
    title = "The selection holds another number of keys"

    def __init__(self, detail: str, keys: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.keys = keys


class IncidentKeysOpen(KeyturnError):
    """Some keys are neither recovered nor waived: `keys`, as (id, name)."""

    code = "incident.keys_open"
    title = "The incident has keys that are not recovered"

    def __init__(self, detail: str, keys: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.keys = keys


class IncidentClosed(KeyturnError):
    code = "incident.closed"
    title = "The incident is closed"


class KeyContained(KeyturnError):
    """An open incident contains the key: nothing brings it back but a false alarm."""

    code = "key.contained"
    title = "An incident contains the key"


class RotationClosed(KeyturnError):
    """The rotation has ended in a way that this step does not lead to."""

    code = "rotation.closed"
    title = "The rotation has ended"


class RotationOpen(KeyturnError):
    """The slot has an open rotation; there is never a second one."""

    code = "rotation.open"
    title = "The slot is being rotated"


class CheckInMissing(KeyturnError):
    """A check-in is to be taken for a run, and there was none."""

    code = "rotation.not_checked_in"
    title = "The runtime has not checked in"


class RotationWider(KeyturnError):
    """A new key may do no more than the one that it replaces."""

    code = "rotation.wider"
    title = "The new key would be wider than the old one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """What keeps a rotation from completing, and whom: None where it is no runtime."""

    code: str
    runtime: str | None
    detail: str


class EvidenceMissing(KeyturnError):
    """The old key cannot be retired on what is known. Names each thing that is in the way."""

    code = "rotation.evidence_missing"
    title = "The evidence does not allow it"

    def __init__(self, detail: str, blocked_by: tuple[Blocker, ...] = ()) -> None:
        super().__init__(detail)
        self.blocked_by = blocked_by


class RollbackUnsafe(KeyturnError):
    """Somebody uses the new key only. Names the runtimes that a rollback would cut off."""

    code = "rotation.rollback_unsafe"
    title = "A rollback would cut somebody off"

    def __init__(self, detail: str, runtimes: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.runtimes = runtimes


class KeyTerminal(KeyturnError):
    """The key is revoked or expired, which no change can undo."""

    code = "key.terminal"
    title = "The key's life has ended"


class VersionMoved(KeyturnError):
    """Somebody else changed the object since the caller read it."""

    code = "version.moved"
    title = "The object has changed meanwhile"


class IntegrityFailed(KeyturnError):
    """A stored row fails its MAC: somebody changed it behind Keyturn's back."""

    code = "integrity.failed"
    title = "The stored record was changed from outside"


class InvariantBroken(KeyturnError):
    """A rotation would have broken an invariant by this step: a fault of ours. It was undone."""


class IdempotencyMismatch(KeyturnError):
    code = "idempotency.mismatch"
    title = "The idempotency key was used for another request"


class IdempotencyRunning(KeyturnError):
    code = "idempotency.running"
    title = "The first request with this idempotency key is still running"


class StorageUnavailable(KeyturnError):
    code = "storage.unavailable"
    title = "The database cannot be used now"


class FreshnessLost(KeyturnError):
    """This node cannot vouch for being as new as it promises; it answers nothing rather than by
    what may be revoked by now."""

    code = "freshness_lost"
    title = "This node may be behind"


class RecordingSaturated(KeyturnError):
    """Requests arrive faster than they can be recorded; none is answered unrecorded."""

    code = "recording.saturated"
    title = "Requests cannot be recorded fast enough"


class InstallationFault(KeyturnError):
    """The installation on this machine cannot be used as it is. Carries the way out."""

    code = "installation.fault"
    title = "The installation cannot be used"

    def __init__(self, detail: str, *, remedy: str) -> None:
        super().__init__(detail)
        self.remedy = remedy
