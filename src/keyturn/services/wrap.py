"""Wrapping: every digest comes to stand under the newest pepper, and no secret needs to be known.

1. `record_pepper` says in the installation's row that there is a newer pepper. From then on no new
   digest stands under older ones alone (`follow`), so one walk over what is there is enough.
2. `wrap_records` walks: each batch is one transaction, with each record's change in the log.
3. The log tells of the beginning and of the end. So a rotation is unfinished while a sound row
   stands under older peppers alone, or the log has the beginning and no end; nothing else is kept.
   The content of entries goes in their order when its time has come, so no end goes first.
4. A damaged row stays as it is: to wrap it would be to seal it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from keyturn.domain.activity import SYSTEM, Category
from keyturn.domain.error import InstallationFault, StorageUnavailable
from keyturn.domain.key import Key
from keyturn.domain.operator import Operator
from keyturn.services.appoint import operator_subject
from keyturn.services.context import Context
from keyturn.services.follow import (
    Asking,
    advance,
    is_denied,
    key_under_newest,
    operator_under_newest,
    pepper_subject,
)
from keyturn.services.issue import key_subject
from keyturn.services.journal import Subject, note
from keyturn.storage.installation import Installation
from keyturn.storage.peppers import KINDS
from keyturn.storage.transaction import Reading, Writing

ADDED = "pepper.added"
ROTATED = "pepper.rotated"
BATCH = 50
ATTEMPTS = 5

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Where the records stand. `records` counts them by kind and by the peppers that they name;
    `waiting` are sound ones under older peppers alone, `damaged` those that cannot be wrapped."""

    newest: int
    fingerprints: Mapping[int, str]
    records: Mapping[str, Mapping[str, int]]
    waiting: int
    damaged: int
    is_ended: bool

    @property
    def is_unfinished(self) -> bool:
        return self.waiting > 0 or not self.is_ended

    @property
    def total(self) -> int:
        return sum(sum(counts.values()) for counts in self.records.values())


@dataclass(slots=True, kw_only=True)
class Wrapped:
    """What a walk has done so far."""

    version: int
    keys: int = 0
    operators: int = 0
    damaged: int = 0

    @property
    def records(self) -> int:
        return self.keys + self.operators


Progress = Callable[[Wrapped], None]
# Waits for so many seconds: others want to change something too.
Pause = Callable[[float], None]


def survey(context: Context) -> Survey:
    """Counts all records. Raises `InstallationFault` where there is no installation."""
    waiting = damaged = 0
    with context.store.read() as transaction:
        installation = _installation(transaction)
        newest = installation.newest_pepper
        for kind in KINDS:
            after: str | None = None
            while page := transaction.peppered.behind(kind, newest, after=after, limit=1_000):
                damaged += sum(one.record is None for one in page)
                waiting += sum(one.record is not None for one in page)
                if (after := _further(after, page[-1].id)) is None:
                    break
        records = {kind: transaction.peppered.count(kind) for kind in KINDS}
        is_ended = not _tells(transaction, newest, ADDED) or _tells(transaction, newest, ROTATED)
    return Survey(
        newest=newest,
        fingerprints=installation.pepper_fingerprints,
        records=records,
        waiting=waiting,
        damaged=damaged,
        is_ended=is_ended,
    )


def _tells(transaction: Reading, version: int, action: str) -> bool:
    subject = pepper_subject(version)
    found = transaction.activity.last_of_installation(subject.type, subject.id, action)
    return found is not None


def record_pepper(context: Context, asking: Asking) -> bool:
    """Says that digests stand under this pepper from now on; once more, nothing happens. Nothing
    either, and False, where a server would be shut out (`follow`). Raises `InstallationFault` where
    another pepper of that version is recorded."""
    version, own = asking.version, asking.fingerprint
    with context.store.change() as transaction:
        if is_denied(transaction, asking):
            return False
        installation = _installation(transaction)
        recorded = installation.pepper_fingerprints
        if version not in recorded and version > installation.newest_pepper:
            recorded = {**recorded, version: own}
            transaction.installation.record_peppers(recorded)
            note(
                context,
                transaction,
                actor=SYSTEM,
                request_id=None,
                action=ADDED,
                category=Category.SECURITY,
                subject=pepper_subject(version),
                message=f"Digests stand under pepper {version} from now on.",
                metadata={"fingerprint": own},
                now=context.clock.now(),
            )
        if recorded.get(version) != own:
            raise InstallationFault(
                f"Another pepper {version} than the one in this root secret is recorded in the "
                "database.",
                remedy="The pepper was rotated with another copy of the file; put that one here.",
            )
    advance(context, version, recorded)
    return True


def wrap_records(context: Context, pause: Pause, progress: Progress) -> Wrapped:
    """Wraps what stands under older peppers alone, in batches that let others in between.

    May be broken off anywhere and called again. Raises `StorageUnavailable` where the database
    stays away.
    """
    walk = _Walk(context)
    while not _patiently(walk.step, pause):
        progress(walk.wrapped)
        pause(walk.seconds)
    return walk.wrapped


def _patiently(step: Callable[[], Result], pause: Pause) -> Result:
    """What the step gives. It may be repeated also where it is not known whether it was done."""
    for _ in range(ATTEMPTS - 1):
        try:
            return step()
        except StorageUnavailable:
            pause(1.0)
    return step()


class _Walk:
    """One walk over all records, by kind and id."""

    SHORTEST_PAUSE_SECONDS = 0.12

    def __init__(self, context: Context) -> None:
        self._context = context
        self._kinds = list(KINDS)
        self._after: str | None = None
        self.wrapped = Wrapped(version=context.ring.current)
        self.seconds = 0.0

    def step(self) -> bool:
        """Wraps a batch; whether it was the last one."""
        began = self._context.clock.elapsed()
        wrapped, kinds = replace(self.wrapped), list(self._kinds)
        with self._context.store.change() as transaction:
            after = self._wrap_batch(transaction, kinds[0], wrapped)
            if after is None:
                kinds.pop(0)
            if not kinds:
                self._note_end(transaction, wrapped)
        # Only now: a transaction that was rolled back has wrapped nothing.
        self.wrapped, self._kinds, self._after = wrapped, kinds, after
        self.seconds = max(self.SHORTEST_PAUSE_SECONDS, 2 * (self._context.clock.elapsed() - began))
        return not kinds

    def _wrap_batch(self, transaction: Writing, kind: str, wrapped: Wrapped) -> str | None:
        """The id to go on from, None where the kind is through."""
        page = transaction.peppered.behind(kind, wrapped.version, after=self._after, limit=BATCH)
        for standing in page:
            match standing.record:
                case None:
                    wrapped.damaged += 1
                case Key() as key:
                    self._wrap_key(transaction, key)
                    wrapped.keys += 1
                case Operator() as operator:
                    self._wrap_operator(transaction, operator)
                    wrapped.operators += 1
        return _further(self._after, page[-1].id) if len(page) == BATCH else None

    def _wrap_key(self, transaction: Writing, key: Key) -> None:
        now = self._context.clock.now()
        following = key_under_newest(self._context, transaction, key)
        following = replace(following, updated_at=now, version=key.version + 1)
        transaction.keys.replace(following, key.version)
        self._note(transaction, key_subject(following), f"Key {key.name}", now)

    def _wrap_operator(self, transaction: Writing, operator: Operator) -> None:
        now = self._context.clock.now()
        following = operator_under_newest(self._context, transaction, operator)
        following = replace(following, updated_at=now, version=operator.version + 1)
        transaction.operators.replace(following, operator.version)
        self._note(transaction, operator_subject(following), f"Operator {operator.name}", now)

    def _note(self, transaction: Writing, subject: Subject, who: str, now: int) -> None:
        version = self.wrapped.version
        note(
            self._context,
            transaction,
            actor=SYSTEM,
            request_id=None,
            action=f"{subject.type}.wrapped",
            category=Category.SECURITY,
            subject=subject,
            message=f"{who} stands under pepper {version} now; its token stays as it is.",
            metadata={"pepper": version},
            now=now,
        )

    def _note_end(self, transaction: Writing, wrapped: Wrapped) -> None:
        counts = {kind: transaction.peppered.count(kind) for kind in KINDS}
        version = wrapped.version
        note(
            self._context,
            transaction,
            actor=SYSTEM,
            request_id=None,
            action=ROTATED,
            category=Category.SECURITY,
            subject=pepper_subject(version),
            message=f"Every sound record stands under pepper {version}.",
            metadata={
                "keys": sum(counts["key"].values()),
                "operators": sum(counts["operator"].values()),
                "damaged": wrapped.damaged,
            },
            now=self._context.clock.now(),
        )


def _further(before: str | None, after: str) -> str | None:
    """Where to go on, None where that is not further on: an id that was planted may be no text."""
    return after if before is None or after > before else None


def _installation(transaction: Reading) -> Installation:
    found = transaction.installation.find()
    if found is None:
        raise InstallationFault(
            "The database has no installation.", remedy="Run `keyturn init` first."
        )
    return found
