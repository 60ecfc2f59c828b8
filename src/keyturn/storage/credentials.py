"""Credentials for the hot path: one raw statement a key, checked like every other read.

The answer comes from the database each time. What is remembered is only that a row of exactly
these cells was found good and what it decodes to, which cannot go stale: other cells are another
row. So an edit from outside is seen at the very next verification. That no later version was seen
(`memory.py`) is asked each time.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, bindparam, select, text
from sqlalchemy.engine import Dialect

from keyturn.domain.seal import Cell, Sealer
from keyturn.storage.contract import (
    Credential,
    CredentialFill,
    Deprecation,
    KeyCredential,
    OnDamage,
    OperatorCredential,
    Reference,
)
from keyturn.storage.memory import Memory, Seen
from keyturn.storage.records import (
    KEYS,
    OPERATORS,
    ROTATIONS,
    SLOTS,
    WORKSPACES,
    key_of,
    operator_of,
    rotation_of,
    slot_of,
    slot_ref,
    workspace_of,
)
from keyturn.storage.schema import IS_OPEN, keys, operators, rotations, slots, workspaces
from keyturn.storage.sealed import Damage
from keyturn.storage.steps import LAST, point_of

REMEMBERED = 10_000

_FILLED_AT = 2  # a row of a `fill_statement` begins with the point

_WORKSPACE_AT = KEYS.width
_SLOT_AT = _WORKSPACE_AT + WORKSPACES.width
_ROTATION_AT = _SLOT_AT + SLOTS.width


def key_statement(dialect: Dialect) -> str:
    """The statement that reads a key by its id, with its workspace, its slot, and the open
    rotation that replaces it. Of its slot at most one is open, so there is one row."""
    query = (
        select(
            *KEYS.selection(),
            *WORKSPACES.selection(),
            *SLOTS.selection(),
            *ROTATIONS.selection(),
        )
        .select_from(
            # Outer joins: a key that was moved to a workspace that is none is seen and reported.
            keys.outerjoin(workspaces, workspaces.c.id == keys.c.workspace_id)
            .outerjoin(
                slots,
                and_(
                    slots.c.workspace_id == keys.c.workspace_id,
                    slots.c.service == keys.c.service,
                    slots.c.environment == keys.c.environment,
                ),
            )
            .outerjoin(
                rotations,
                and_(
                    rotations.c.workspace_id == keys.c.workspace_id,
                    rotations.c.service == keys.c.service,
                    rotations.c.environment == keys.c.environment,
                    rotations.c.old_key_id == keys.c.id,
                    text(f"rotations.{IS_OPEN}"),
                ),
            )
        )
        .where(keys.c.id == bindparam("id"))
    )
    return _compiled(query, dialect)


def operator_statement(dialect: Dialect) -> str:
    """The statement that reads an operator by its id."""
    return _compiled(
        select(*OPERATORS.selection()).where(operators.c.id == bindparam("id")), dialect
    )


def fill_statement(statement: str) -> str:
    """A statement of the two above with the last point of the log before its columns, in one
    snapshot. A row comes back also where there is no such credential, or no change yet."""
    return statement.join(_WITH_TIP)


_TIP = f"SELECT tip.position, tip.mac, found.* FROM (SELECT 1) AS one LEFT JOIN ({LAST}) AS tip"  # noqa: S608
_WITH_TIP = (f"{_TIP} ON TRUE LEFT JOIN (", ") AS found ON TRUE")
POSITION_STATEMENT = "SELECT position FROM change_head"


def position_of(row: Sequence[object] | None) -> int:
    """The position in the answer, 0 where what stands there is none: then no change gets through
    until the head is mended, and nothing is newer than what was read."""
    return row[0] if row is not None and isinstance(row[0], int) else 0


def _compiled(query: Select[*tuple[Any, ...]], dialect: Dialect) -> str:
    return str(query.compile(dialect=dialect, compile_kwargs={"render_postcompile": True}))


class CredentialDecoder:
    """Checks raw rows and decodes them, remembering the rows that it has found good."""

    def __init__(self, sealer: Sealer, on_damage: OnDamage, memory: Memory) -> None:
        self._sealer = sealer
        self._on_damage = on_damage
        self._memory = memory
        self._good: dict[Reference, tuple[Sequence[Cell], Credential, tuple[Seen, ...]]] = {}

    def mark(self) -> int:
        """To be taken before the statement whose rows are decoded."""
        return self._memory.mark()

    def decode(
        self, reference: Reference, cells: Sequence[Cell] | None, mark: int
    ) -> Credential | None:
        """The credential in a row, None where there is no row, or a damaged one."""
        if cells is None:
            return None
        good = self._good.get(reference)
        if good is not None and good[0] == cells:
            return good[1] if self._are_last(good[2], mark) else None
        credential = (
            self._decode_operator(reference.id, cells)
            if reference.is_operators
            else self._decode_key(reference.id, cells)
        )
        if credential is not None:
            if len(self._good) >= REMEMBERED:
                self._good.clear()  # at once: other threads are about
            seen = _seen(credential)
            if not self._are_last(seen, mark):
                return None
            self._memory.remember(seen)
            self._good[reference] = (cells, credential, seen)
        return credential

    def fill(self, reference: Reference, cells: Sequence[Cell], mark: int) -> CredentialFill:
        """What a row of a `fill_statement` has."""
        row = None if cells[_FILLED_AT] is None else cells[_FILLED_AT:]
        credential = self.decode(reference, row, mark)
        return CredentialFill(
            credential=credential,
            is_damaged=row is not None and credential is None,
            point=point_of(cells[0], cells[1]),
        )

    def _are_last(self, seen: tuple[Seen, ...], mark: int) -> bool:
        for one in seen:
            if self._memory.is_older(one, mark):
                self._on_damage(Damage(one.kind, one.ref))
                return False
        return True

    def _decode_operator(self, id_: UUID, cells: Sequence[Cell]) -> OperatorCredential | None:
        row = OPERATORS.open(self._sealer, cells)
        if row is None:
            self._on_damage(Damage(OPERATORS.kind, str(id_)))
            return None
        return OperatorCredential(operator=operator_of(row))

    def _decode_key(self, id_: UUID, cells: Sequence[Cell]) -> KeyCredential | None:
        row = KEYS.open(self._sealer, cells[:_WORKSPACE_AT])
        if row is None:
            self._on_damage(Damage(KEYS.kind, str(id_)))
            return None
        key = key_of(row)
        tenant = WORKSPACES.open(self._sealer, cells[_WORKSPACE_AT:_SLOT_AT])
        if tenant is None:
            self._on_damage(Damage(WORKSPACES.kind, str(key.workspace_id)))
            return None
        owner = None
        if cells[_SLOT_AT] is not None:
            slot = SLOTS.open(self._sealer, cells[_SLOT_AT:_ROTATION_AT])
            if slot is None:
                # A slot decides nothing; what it says is left out, and the key works.
                self._on_damage(Damage(SLOTS.kind, slot_ref(key.workspace_id, key.slot)))
            else:
                owner = slot_of(slot).notes.owner
        return KeyCredential(
            key=key,
            workspace=workspace_of(tenant),
            owner=owner,
            deprecation=self._decode_deprecation(cells[_ROTATION_AT:]),
        )

    def _decode_deprecation(self, cells: Sequence[Cell]) -> Deprecation | None:
        if cells[0] is None:
            return None
        row = ROTATIONS.open(self._sealer, cells)
        if row is None:
            # It decides nothing: the key works as long as its own record says.
            self._on_damage(Damage(ROTATIONS.kind, str(cells[0])))
            return None
        rotation = rotation_of(row)
        return Deprecation(
            rotation_id=rotation.id, since=rotation.started_at, sunset=rotation.deadline
        )


def _seen(credential: Credential) -> tuple[Seen, ...]:
    """The versions that a verdict rests on. A slot decides nothing, nor does a rotation."""
    match credential:
        case KeyCredential(key=key, workspace=workspace):
            return (
                Seen(KEYS.kind, str(key.id), key.version),
                Seen(WORKSPACES.kind, str(workspace.id), workspace.version),
            )
        case OperatorCredential(operator=operator):
            return (Seen(OPERATORS.kind, str(operator.id), operator.version),)
