"""Announcing: the activity log is followed, and of each event a message is made for each channel
that wants it.

1. The messages of a piece of the log are kept in the transaction that moves the place reached: an
   event is announced once, wherever the process is killed.
2. That transaction is one that records (`Store.record`): where a power cut takes it back, messages
   and place go together, and what is announced anew has the ids that it had.
3. A channel is told of what happened after it was made. What is no news any more is told to nobody.
4. A message says what the log says, and of a finding its evidence. No secret is in either.
"""

import json
from collections.abc import Mapping, Sequence
from uuid import UUID

from keyturn.domain.activity import Entry
from keyturn.domain.channel import Channel, ChannelKind, ChannelState, is_address
from keyturn.domain.error import IntegrityFailed
from keyturn.domain.event import is_event, subject_of, wants
from keyturn.domain.finding import Finding
from keyturn.domain.identity import parse_id
from keyturn.domain.instant import format_instant
from keyturn.domain.message import NEWS, Envelope, Message, MessageState, message_id
from keyturn.domain.slot import SlotName
from keyturn.domain.webhook import MOST_PAYLOAD_BYTES
from keyturn.services.context import Context
from keyturn.storage.activity import Link
from keyturn.storage.transaction import Reading

PAGE = 200
# Nobody who changes something waits for longer than these take to be kept.
MOST_AT_ONCE = 500
_FINDING = "finding"


class Announcer:
    """One process's reader of the log; `step` is one piece of it."""

    def __init__(self, context: Context, *, most_at_once: int = MOST_AT_ONCE) -> None:
        self._context = context
        self._most_at_once = most_at_once

    def step(self) -> int:
        """Announces what is new: a page of the log at most, and no further entry once there are
        `most_at_once` messages. Says how many were made. Raises `StorageUnavailable`."""
        with self._context.store.read() as reading:
            reached = reading.announced.find()
            if reached is not None and not reading.activity.links(after=reached, limit=1):
                return 0
        with self._context.store.record() as transaction:
            start = self._start(transaction)
            page = transaction.activity.links(after=start, limit=PAGE)
            announcing = _Page(self._context, transaction)
            end = start
            for link in page:
                announcing.announce(link)
                end = link.number
                if announcing.looked >= self._most_at_once:
                    break
            if isinstance(end, int):
                transaction.announced.keep(end)
        return announcing.made

    def _start(self, transaction: Reading) -> int:
        """The last entry that is not to be announced any more."""
        reached = transaction.announced.find()
        if reached is not None:
            return reached
        earliest = transaction.channels.earliest()
        if earliest is not None:
            return earliest
        try:
            return transaction.head().activity_number
        except IntegrityFailed:
            return 0


class _Page:
    """One page of the log while it is announced; what is looked up is looked up once. `looked` are
    the messages that there are of it, and `made` those of them that are new."""

    def __init__(self, context: Context, transaction: Reading) -> None:
        self._transaction = transaction
        self._now = context.clock.now()
        self._channels: dict[UUID, Sequence[Channel]] = {}
        self.looked = self.made = 0

    def announce(self, link: Link) -> None:
        """Makes an entry's messages: for all that want it."""
        entry = link.entry
        if entry is None or entry.workspace_id is None or not is_event(entry):
            return
        # One that was edited says what somebody wants it to say.
        if entry.created_at < self._now - NEWS or entry.content_hash() != link.content_hash:
            return
        wanting = [
            one
            for one in self._of(entry.workspace_id)
            if one.state in (ChannelState.ACTIVE, ChannelState.PAUSED)
            and link.number > one.since
            and wants(one.events, entry.action)
        ]
        if not wanting:
            return
        body = compose_event(entry, find_finding(self._transaction, entry))
        for channel in wanting:
            recipients = self._recipients(channel, entry)
            if channel.kind is ChannelKind.EMAIL and not recipients:
                continue
            message = make_message(channel, entry, link.number, body, recipients, self._now)
            self.made += self._transaction.messages.add(message)
            self.looked += 1

    def _of(self, workspace_id: UUID) -> Sequence[Channel]:
        if workspace_id not in self._channels:
            self._channels[workspace_id] = self._transaction.channels.of_workspace(workspace_id)
        return self._channels[workspace_id]

    def _recipients(self, channel: Channel, entry: Entry) -> tuple[str, ...]:
        if channel.kind is not ChannelKind.EMAIL:
            return ()
        owner = self._owner(entry) if channel.to_owners else None
        return tuple(dict.fromkeys([*channel.addresses, *([] if owner is None else [owner])]))

    def _owner(self, entry: Entry) -> str | None:
        """The owner of the slot that the event is about, where that is an address."""
        slot = entry.metadata.get("slot")
        spelled = slot if isinstance(slot, str) else entry.resource_id
        name = SlotName.parse(spelled)
        if name is None or entry.workspace_id is None:
            return None
        try:
            found = self._transaction.slots.find(entry.workspace_id, name)
        except IntegrityFailed:
            return None
        owner = None if found is None else found.notes.owner
        return owner if owner is not None and is_address(owner) else None


def make_message(
    channel: Channel, entry: Entry, number: int, body: str, recipients: tuple[str, ...], now: int
) -> Message:
    """A message that waits, due at once."""
    return Message(
        envelope=Envelope(
            id=message_id(entry.id, channel.id),
            channel_id=channel.id,
            workspace_id=channel.workspace_id,
            number=number,
            event=entry.action,
            subject=subject_of(entry),
            body=body,
            recipients=recipients,
            created_at=entry.created_at,
        ),
        state=MessageState.WAITING,
        tries=0,
        due_at=now,
        hurries=0,
        ended_at=None,
        reason=None,
        reached=(),
        attempts=(),
    )


def find_finding(transaction: Reading, entry: Entry) -> Finding | None:
    """The finding that an entry tells of, None where it tells of none or that is damaged."""
    id_ = parse_id(entry.resource_id) if entry.resource_type == _FINDING else None
    if id_ is None or entry.workspace_id is None:
        return None
    try:
        return transaction.findings.find(entry.workspace_id, id_)
    except IntegrityFailed:
        return None


def compose_event(entry: Entry, finding: Finding | None) -> str:
    """What is sent of an event. What is too large for a receiver is left out, and `is_cut` says
    so: the API has the whole of it."""
    told: dict[str, object] = {} if finding is None else {"finding": _finding(finding)}
    data: dict[str, object] = {**_entry(entry), **told}
    body = _spelled(entry, data)
    if len(body) > MOST_PAYLOAD_BYTES and finding is not None:
        data = {**data, "finding": {**_finding(finding), "evidence": {}}, "is_cut": True}
        body = _spelled(entry, data)
    if len(body) > MOST_PAYLOAD_BYTES:
        body = _spelled(entry, {**data, "metadata": {}, "is_cut": True})
    return body


def _spelled(entry: Entry, data: Mapping[str, object]) -> str:
    told = {"type": entry.action, "timestamp": format_instant(entry.created_at), "data": data}
    return json.dumps(told, separators=(",", ":"))


def _entry(entry: Entry) -> dict[str, object]:
    return {
        "id": str(entry.id),
        "workspace_id": str(entry.workspace_id),
        "actor_type": entry.actor.type,
        "actor_label": entry.actor.label,
        "action": entry.action,
        "category": entry.category,
        "resource_type": entry.resource_type,
        "resource_id": entry.resource_id,
        "message": entry.message,
        "metadata": entry.metadata,
        "request_id": entry.request_id,
        "created_at": format_instant(entry.created_at),
    }


def _finding(finding: Finding) -> dict[str, object]:
    resolved_at = finding.resolved_at
    return {
        "id": str(finding.id),
        "kind": finding.kind,
        "severity": finding.severity,
        "state": finding.state,
        "subject_type": finding.subject_type,
        "subject_id": finding.subject_id,
        "slot": str(finding.slot),
        "since": format_instant(finding.since),
        "resolved_at": None if resolved_at is None else format_instant(resolved_at),
        "evidence": json.loads(finding.evidence),
    }
