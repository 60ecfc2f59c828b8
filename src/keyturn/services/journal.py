"""Writing the activity log: what was done, and what was refused for want of rights."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from keyturn.domain.activity import ActivityStatus, Actor, ActorType, Category, Entry
from keyturn.domain.error import KeyturnError
from keyturn.domain.instant import DAY
from keyturn.services.context import Context
from keyturn.services.identify import Caller
from keyturn.storage.log import Change
from keyturn.storage.transaction import Writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One management call: who calls, and the request id that joins it with everything else."""

    caller: Caller
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who does something in the end: somebody who calls, or Keyturn itself, with no request id."""

    actor: Actor
    request_id: str | None

    @classmethod
    def of(cls, act: Act) -> "Author":
        return cls(actor=act.caller.actor, request_id=act.request_id)


WORKER = Author(
    actor=Actor(type=ActorType.WORKER, id=None, label="keyturn rotations"), request_id=None
)
NOTIFIER = Author(
    actor=Actor(type=ActorType.WORKER, id=None, label="keyturn notifications"), request_id=None
)

RESPONDER = Author(
    actor=Actor(type=ActorType.WORKER, id=None, label="keyturn incidents"), request_id=None
)

DELIVERER = Author(
    actor=Actor(type=ActorType.WORKER, id=None, label="keyturn deliveries"), request_id=None
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an action was done to, as bodies spell it, and the change that it made, if any."""

    workspace_id: UUID | None
    type: str
    id: str
    change: Change | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One of many entries that are written at once."""

    action: str
    subject: Subject
    message: str
    metadata: Mapping[str, object]


def note_all(
    context: Context,
    transaction: Writing,
    author: Author,
    category: Category,
    notes: Iterable[Note],
    now: int,
) -> None:
    """Writes an entry for each, in their order, as `note` does."""
    transaction.log.append_all(
        [
            (
                _entry(
                    context,
                    actor=author.actor,
                    request_id=author.request_id,
                    action=one.action,
                    category=category,
                    subject=one.subject,
                    message=one.message,
                    now=now,
                    metadata=one.metadata,
                    status=ActivityStatus.SUCCESS,
                ),
                one.subject.change,
            )
            for one in notes
        ]
    )


def note(
    context: Context,
    transaction: Writing,
    *,
    actor: Actor,
    request_id: str | None,
    action: str,
    category: Category,
    subject: Subject,
    message: str,
    now: int,
    metadata: Mapping[str, object] | None = None,
    status: ActivityStatus = ActivityStatus.SUCCESS,
) -> int:
    """Writes one entry in the transaction of its change. Returns the log position after it."""
    entry = _entry(
        context,
        actor=actor,
        request_id=request_id,
        action=action,
        category=category,
        subject=subject,
        message=message,
        now=now,
        metadata=metadata or {},
        status=status,
    )
    return transaction.log.append(entry, subject.change)


def _entry(
    context: Context,
    *,
    actor: Actor,
    request_id: str | None,
    action: str,
    category: Category,
    subject: Subject,
    message: str,
    now: int,
    metadata: Mapping[str, object],
    status: ActivityStatus,
) -> Entry:
    extra: dict[str, object] = dict(metadata)
    if actor.type is ActorType.API_KEY and actor.id is not None:
        extra["actor_key_id"] = str(actor.id)
    return Entry(
        id=context.new_id(now),
        workspace_id=subject.workspace_id,
        actor=actor,
        action=action,
        category=category,
        resource_type=subject.type,
        resource_id=subject.id,
        resource_version=None if subject.change is None else subject.change.version,
        status=status,
        message=message,
        metadata=extra,
        request_id=request_id,
        retention_days=context.activity_retention_days,
        created_at=now,
        expires_at=now + context.activity_retention_days * DAY,
        position=None,
    )


def note_refusal(
    context: Context, act: Act, *, action: str, subject: Subject, error: KeyturnError
) -> None:
    """Records that a change was refused for want of rights: somebody tried."""
    with context.store.change() as transaction:
        now = context.clock.now()
        note(
            context,
            transaction,
            actor=act.caller.actor,
            request_id=act.request_id,
            action=action,
            category=Category.SECURITY,
            subject=subject,
            message=error.detail,
            metadata={"code": error.code},
            status=ActivityStatus.FAILED,
            now=now,
        )
