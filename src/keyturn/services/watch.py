"""Watching for damage: a row that was changed from outside is told of in the activity log, once."""

from uuid import UUID

from keyturn.domain.activity import SYSTEM, ActivityStatus, Category
from keyturn.domain.error import IntegrityFailed
from keyturn.domain.identity import parse_id
from keyturn.domain.text import NAME_LENGTH, without_controls
from keyturn.services.context import Context
from keyturn.services.journal import Subject, note
from keyturn.storage.sealed import Damage

_TYPES = {"key": "api_key"}


class DamageWatch:
    """Gathers reports of damage and writes each of them down once in this process's life."""

    def __init__(self) -> None:
        self._told: set[Damage] = set()
        self._waiting: list[Damage] = []
        self.seen = 0

    def report(self, damage: Damage) -> None:
        """May be called from any thread and inside any transaction: it only notes."""
        self.seen += 1
        if damage not in self._told:
            self._told.add(damage)
            self._waiting.append(damage)

    def write_down(self, context: Context) -> int:
        """Logs what was reported since the last call; says how much it was."""
        told = 0
        while self._waiting:
            damage = self._waiting[0]
            try:
                _note_damage(context, damage)
            except IntegrityFailed:
                # The head of the log itself was tampered with: nothing can be written any more,
                # and `keyturn activity verify` and the readiness check say so.
                return told
            self._waiting.pop(0)
            told += 1
        return told


def _note_damage(context: Context, damage: Damage) -> None:
    now = context.clock.now()
    workspace_id = _workspace_of(context, damage)
    with context.store.change() as transaction:
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
        case _:
            return None
