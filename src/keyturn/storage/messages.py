"""Keeping messages: the outbox, and what became of each.

1. The seal is over the envelope alone: what was changed from outside is never signed and sent. How
   far a message has come is our own bookkeeping, written with each attempt and in no change log:
   who edits it can make us send something genuine twice, or not, as who deletes the row can.
2. A message that is there already is not added again, in whatever state it is.
3. The next of a channel are the earliest waiting of each subject: never two of one.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    and_,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from keyturn.domain.error import IntegrityFailed
from keyturn.domain.message import (
    MOST_ATTEMPTS_TOLD,
    MOST_HURRIES,
    Attempt,
    Envelope,
    Message,
    MessageState,
    Outcome,
)
from keyturn.domain.seal import Cell
from keyturn.storage.records import id_of
from keyturn.storage.schema import messages
from keyturn.storage.sealed import MAC, Damage
from keyturn.storage.session import Session

DAMAGED = "The record of this message was changed from outside; it is not sent."

# As the partial index spells it, so that both engines go by that.
_WAITING: ColumnElement[str] = literal_column(f"'{MessageState.WAITING}'")
_is_waiting = messages.c.state == _WAITING
_SEALED = (
    "id",
    "channel_id",
    "workspace_id",
    "number",
    "event",
    "subject",
    "body",
    "recipients",
    "created_at",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages to list; None asks for any."""

    channel_id: UUID | None = None
    state: MessageState | None = None
    event: str | None = None
    subject: str | None = None
    since: int | None = None
    until: int | None = None


class Messages:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, message: Message) -> bool:
        """Keeps a new message; says whether it was one."""
        there = select(messages.c.id).where(messages.c.id == str(message.envelope.id))
        if self._session.connection.execute(there).first() is not None:
            return False
        row = _envelope_row(message.envelope)
        seal = self._session.sealer.seal(messages.name, row)
        self._session.connection.execute(
            insert(messages), {**row, MAC: seal, **_progress_row(message)}
        )
        return True

    def keep(self, message: Message) -> None:
        """Writes how far a message has come."""
        self._session.connection.execute(
            update(messages)
            .where(messages.c.id == str(message.envelope.id))
            .values(_progress_row(message))
        )

    def find(self, workspace_id: UUID, id: UUID) -> Message | None:  # noqa: A002
        """The message, or None. Raises `IntegrityFailed` where its row is damaged."""
        row = self._session.connection.execute(
            select(messages).where(
                messages.c.id == str(id), messages.c.workspace_id == str(workspace_id)
            )
        ).first()
        if row is None:
            return None
        found = self._opened(row)
        if found is None:
            raise IntegrityFailed(DAMAGED)
        return found

    def workspace_of(self, id: UUID) -> UUID | None:  # noqa: A002
        """The workspace that a message says it is in, for an operator who names it alone."""
        found = self._session.connection.execute(
            select(messages.c.workspace_id).where(messages.c.id == str(id))
        ).scalar()
        return id_of(found)

    def waiting_channels(self) -> Sequence[UUID]:
        """The channels that something waits for."""
        query = select(messages.c.channel_id).where(_is_waiting).distinct()
        found = map(id_of, self._session.connection.execute(query).scalars())
        return [one for one in found if one is not None]

    def due(
        self, channel_id: UUID, now: int, *, limit: int, longest: int
    ) -> Sequence[Message | UUID]:
        """Of the earliest waiting of each subject those that are due, in their order. Of a damaged
        one the id alone. None waits for a time of its own until it was tried, and none for more
        than `longest`: where one seems to, the clock was set back."""
        first = messages.alias()
        heads = (
            select(func.min(first.c.number))
            .where(first.c.channel_id == str(channel_id), first.c.state == _WAITING)
            .group_by(first.c.subject)
        )
        query = (
            select(messages)
            .where(
                messages.c.channel_id == str(channel_id),
                _is_waiting,
                or_(
                    messages.c.due_at <= now,
                    messages.c.due_at > now + longest,
                    messages.c.tries == 0,
                ),
                messages.c.number.in_(heads),
            )
            .order_by(messages.c.number)
            .limit(limit)
        )
        rows = self._session.connection.execute(query).all()
        found: list[Message | UUID] = []
        for row in rows:
            id_ = id_of(row[0])
            message = self._opened(row)
            if message is not None:
                found.append(message)
            elif id_ is not None:
                found.append(id_)
        return found

    def hurry(self, channel_id: UUID, now: int) -> int:
        """Has what waits for its next attempt tried now, as if it had not failed the last time: so
        the attempt that comes of it takes none from the schedule. Says how many there are."""
        return self._session.connection.execute(
            update(messages)
            .where(
                messages.c.channel_id == str(channel_id),
                _is_waiting,
                messages.c.due_at > now,
                messages.c.tries > 0,
                messages.c.hurries < MOST_HURRIES,
            )
            .values(due_at=now, tries=messages.c.tries - 1, hurries=messages.c.hurries + 1)
        ).rowcount

    def bring_forward(self, now: int, by: int) -> None:
        """Has what waits for its next attempt tried so much earlier: the clock was set back."""
        self._session.connection.execute(
            update(messages)
            .where(_is_waiting, messages.c.due_at > now)
            .values(due_at=messages.c.due_at - by)
        )

    def bury(self, now: int, reason: str, *, channel_id: UUID | None = None) -> int:
        """What waits, for one channel or for any, waits no longer. Says how much it was."""
        query = update(messages).where(_is_waiting)
        if channel_id is not None:
            query = query.where(messages.c.channel_id == str(channel_id))
        values = {"state": MessageState.DEAD.value, "ended_at": now, "reason": reason}
        return self._session.connection.execute(query.values(values)).rowcount

    def bury_earliest(
        self,
        channel_id: UUID,
        now: int,
        reason: str,
        *,
        limit: int,
        due_before: int | None = None,
    ) -> int:
        """At most `limit` of what waits for a channel, or was due before a time, waits no longer:
        the earliest. Says how much it was."""
        ids = select(messages.c.id).where(messages.c.channel_id == str(channel_id), _is_waiting)
        if due_before is not None:
            ids = ids.where(messages.c.due_at < due_before)
        chosen = ids.order_by(messages.c.number).limit(limit)
        values = {"state": MessageState.DEAD.value, "ended_at": now, "reason": reason}
        return self._session.connection.execute(
            update(messages).where(messages.c.id.in_(chosen.scalar_subquery())).values(values)
        ).rowcount

    def bury_one(self, id: UUID, now: int, reason: str) -> None:  # noqa: A002
        values = {"state": MessageState.DEAD.value, "ended_at": now, "reason": reason}
        self._session.connection.execute(
            update(messages).where(messages.c.id == str(id)).values(values)
        )

    def revive(
        self, channel_id: UUID, now: int, *, since: int | None = None, until: int | None = None
    ) -> int:
        """Has what is dead of a channel wait again, from its beginning. Says how much it was."""
        query = update(messages).where(
            messages.c.channel_id == str(channel_id),
            messages.c.state == MessageState.DEAD.value,
        )
        if since is not None:
            query = query.where(messages.c.created_at >= since)
        if until is not None:
            query = query.where(messages.c.created_at < until)
        values = {
            "state": MessageState.WAITING.value,
            "tries": 0,
            "hurries": 0,
            "due_at": now,
            "ended_at": None,
            "reason": None,
        }
        return self._session.connection.execute(query.values(values)).rowcount

    def last_sent_at(self, channel_id: UUID) -> int | None:
        """When a channel took something last."""
        found = self._session.connection.execute(
            select(func.max(messages.c.ended_at)).where(
                messages.c.channel_id == str(channel_id),
                messages.c.state == MessageState.SENT.value,
            )
        ).scalar()
        return found if isinstance(found, int) else None

    def list(
        self, workspace_id: UUID, wanted: MessageFilter, *, limit: int, before: UUID | None
    ) -> Sequence[Message]:
        """At most `limit` messages, newest first, from `before` on. Damaged rows are left out."""
        query = select(messages).where(_wanted(workspace_id, wanted)).order_by(messages.c.id.desc())
        if before is not None:
            query = query.where(messages.c.id < str(before))
        return self._session.gather(query, limit, self._opened)

    def count(self, workspace_id: UUID, wanted: MessageFilter) -> int:
        query = select(func.count()).select_from(messages).where(_wanted(workspace_id, wanted))
        return int(self._session.connection.execute(query).scalar_one())

    def tally(self, channel_ids: Collection[UUID]) -> dict[UUID, dict[MessageState, int]]:
        """How many messages of these channels are in which state."""
        query = (
            select(messages.c.channel_id, messages.c.state, func.count())
            .where(messages.c.channel_id.in_(sorted(str(one) for one in channel_ids)))
            .group_by(messages.c.channel_id, messages.c.state)
        )
        found: dict[UUID, dict[MessageState, int]] = {one: {} for one in channel_ids}
        for channel_id, state, number in self._session.connection.execute(query).all():
            found[UUID(channel_id)][MessageState(state)] = int(number)
        return found

    def purge(self, state: MessageState, before: int, *, limit: int) -> int:
        """Deletes at most `limit` messages that ended in a state before a time; says how many."""
        ids = (
            select(messages.c.id)
            .where(messages.c.state == state.value, messages.c.ended_at < before)
            .order_by(messages.c.ended_at)
            .limit(limit)
        )
        return self._session.connection.execute(
            delete(messages).where(messages.c.id.in_(ids.scalar_subquery()))
        ).rowcount

    def _opened(self, row: Sequence[Any]) -> Message | None:
        cells: dict[str, Any] = dict(zip(messages.columns.keys(), row, strict=True))
        sealed = {name: cells[name] for name in _SEALED}
        if self._session.sealer.holds(messages.name, sealed, cells[MAC]):
            try:
                return _message_of(cells)
            except (ValueError, TypeError):
                pass
        self._session.damage.append(Damage("message", str(cells["id"])))
        return None


def _wanted(workspace_id: UUID, wanted: MessageFilter) -> ColumnElement[bool]:
    terms: list[ColumnElement[bool]] = [messages.c.workspace_id == str(workspace_id)]
    if wanted.channel_id is not None:
        terms.append(messages.c.channel_id == str(wanted.channel_id))
    if wanted.state is not None:
        terms.append(messages.c.state == wanted.state.value)
    if wanted.event is not None:
        terms.append(messages.c.event == wanted.event)
    if wanted.subject is not None:
        terms.append(messages.c.subject == wanted.subject)
    if wanted.since is not None:
        terms.append(messages.c.created_at >= wanted.since)
    if wanted.until is not None:
        terms.append(messages.c.created_at < wanted.until)
    return and_(*terms)


def _envelope_row(envelope: Envelope) -> dict[str, Cell]:
    return {
        "id": str(envelope.id),
        "channel_id": str(envelope.channel_id),
        "workspace_id": str(envelope.workspace_id),
        "number": envelope.number,
        "event": envelope.event,
        "subject": envelope.subject,
        "body": envelope.body,
        "recipients": json.dumps(envelope.recipients),
        "created_at": envelope.created_at,
    }


def _progress_row(message: Message) -> dict[str, Cell]:
    return {
        "state": message.state.value,
        "tries": message.tries,
        "due_at": message.due_at,
        "hurries": message.hurries,
        "ended_at": message.ended_at,
        "reason": message.reason,
        "reached": json.dumps(message.reached),
        "attempts": json.dumps(
            [
                [one.at, one.outcome.value, one.status]
                for one in message.attempts[-MOST_ATTEMPTS_TOLD:]
            ]
        ),
    }


def _message_of(row: dict[str, Any]) -> Message:
    return Message(
        envelope=Envelope(
            id=UUID(row["id"]),
            channel_id=UUID(row["channel_id"]),
            workspace_id=UUID(row["workspace_id"]),
            number=row["number"],
            event=row["event"],
            subject=row["subject"],
            body=row["body"],
            recipients=tuple(json.loads(row["recipients"])),
            created_at=row["created_at"],
        ),
        state=MessageState(row["state"]),
        tries=int(row["tries"]),
        due_at=int(row["due_at"]),
        hurries=int(row["hurries"]),
        ended_at=row["ended_at"],
        reason=row["reason"],
        reached=tuple(json.loads(row["reached"])),
        attempts=tuple(
            Attempt(at=at, outcome=Outcome(outcome), status=status)
            for at, outcome, status in json.loads(row["attempts"])
        ),
    )
