"""Watching for damage: a row that was changed from outside is told of in the activity log, once."""

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
    with context.store.read() as reading:
        id_ = parse_id(damage.ref.partition("/")[0])
        workspace_id = None
        if id_ is not None:
            workspace_id = reading.keys.workspace_of(id_) if damage.kind == "key" else id_
        if damage.kind == "operator":
            workspace_id = None
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
            "it is denied.",
            status=ActivityStatus.FAILED,
            now=now,
        )
