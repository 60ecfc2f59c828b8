"""Watching for damage: a row that was changed from outside is told of in the activity log, once."""

import threading
from collections import deque
from uuid import UUID

from keyturn.domain.activity import SYSTEM, ActivityStatus, Category
from keyturn.domain.error import IntegrityFailed, StorageUnavailable
from keyturn.domain.identity import parse_id
from keyturn.domain.text import NAME_LENGTH, without_controls
from keyturn.services.context import Context
from keyturn.services.journal import Subject, note
from keyturn.storage.sealed import Damage

_TYPES = {"key": "api_key"}


MOST_TOLD = 10_000
MOST_WAITING = 1_000


class DamageWatch:
    """Gathers reports of damage and writes each of them down once in this process's life.

    At most `MOST_TOLD` are remembered, the latest; one that was forgotten is told of again. Where
    `MOST_WAITING` wait, further ones wait to be reported again.
    """

    def __init__(self) -> None:
        self._told: dict[Damage, None] = {}
        self._waiting: deque[Damage] = deque()
        self._lock = threading.Lock()
        self.seen = 0

    def report(self, damage: Damage) -> None:
        """May be called from any thread and inside any transaction: it only notes."""
        with self._lock:
            self.seen += 1
            if damage in self._told or len(self._waiting) >= MOST_WAITING:
                return
            while len(self._told) >= MOST_TOLD:
                self._told.pop(next(iter(self._told)))
            self._told[damage] = None
            self._waiting.append(damage)

    def write_down(self, context: Context) -> int:
        """Logs what was reported since the last call; says how much it was.

        What cannot be written goes to the end of the queue and keeps no other from being written.
        Raises the last such failure, unless the log itself takes nothing any more, which the
        readiness check and `keyturn activity verify` tell of.
        """
        told = 0
        failure: Exception | None = None
        for _ in range(len(self._waiting)):
            damage = self._waiting[0]
            try:
                _note_damage(context, damage)
            except IntegrityFailed:
                return told
            except StorageUnavailable:
                raise
            except Exception as error:  # noqa: BLE001  (one poisoned report must not stop others)
                failure = error
                self._waiting.rotate(-1)
                continue
            self._waiting.popleft()
            told += 1
        if failure is not None:
            raise failure
        return told


def _note_damage(context: Context, damage: Damage) -> None:
    workspace_id = _workspace_of(context, damage)
    with context.store.change() as transaction:
        now = context.clock.now()
        note(
            context,
            transaction,
            actor=SYSTEM,
            request_id=None,
            action="integrity.failed",
            category=Category.SECURITY,
            subject=Subject(
                workspace_id=workspace_id,
                type=_TYPES.get(damage.kind, damage.kind),
                # A damaged row says of itself what its editor wrote there.
                id=without_controls(damage.ref.rpartition("/")[2], NAME_LENGTH),
            ),
            message=f"The stored record of this {damage.kind} was changed from outside; "
            "it is left out everywhere.",
            status=ActivityStatus.FAILED,
            now=now,
        )


def _workspace_of(context: Context, damage: Damage) -> UUID | None:
    """The workspace whose log tells of the damage, None for the installation's."""
    id_ = parse_id(damage.ref.partition("/")[0])
    match damage.kind:
        case "workspace" | "slot":
            return id_
        case "key" if id_ is not None:
            with context.store.read() as reading:
                return reading.keys.workspace_of(id_)
        case "rotation" if id_ is not None:
            with context.store.read() as reading:
                return reading.rotations.workspace_of(id_)
        case "finding" if id_ is not None:
            with context.store.read() as reading:
                return reading.findings.workspace_of(id_)
        case "incident" | "incident_key" if id_ is not None:
            with context.store.read() as reading:
                return reading.incidents.workspace_of(id_)
        case "destination" if id_ is not None:
            with context.store.read() as reading:
                return reading.destinations.workspace_of(id_)
        case "delivery" if id_ is not None:
            with context.store.read() as reading:
                return reading.deliveries.workspace_of(id_)
        case _:
            return None
