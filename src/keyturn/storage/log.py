"""The change log: one head row, raised in the same transaction as every change.

1. A writing transaction locks the head first, so that all changes of an installation stand in one
   order, and commit order is position order. A rolled-back change rolls its position back: there
   are no gaps. (A sequence would hand out numbers before commit; a reader that has seen 7 never
   goes back for a 6 that commits later, and loses a revocation.)
2. Each entry of the activity log is written here, in the transaction of the change it tells of: a
   change that cannot be logged does not happen.
3. A change that can alter a verdict also gets a row in `changes` with the object's new version.
4. Each row of `changes` is sealed, its position included, and stands in the chain (`attest`).
5. The head is sealed: one that was edited stops all changes. So does a genuine *older* head, if
   this process has seen a later one, or is a server whose file of signed heads named one at its
   start: a log that is shorter than that, or has another entry in that place, is not written on. An
   older head that was put back while no process ran, with the file of heads, is not seen here.
6. Once the scrub has found that positions are missing, nothing is changed until they are back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import insert, select, text, update

from keyturn.domain.activity import GENESIS, Entry, LoggedChange, chain
from keyturn.domain.error import IntegrityFailed
from keyturn.domain.seal import Cell
from keyturn.storage.activity import change_row, entry_row
from keyturn.storage.memory import Place, Seen
from keyturn.storage.schema import activity, change_head, changes
from keyturn.storage.sealed import MAC
from keyturn.storage.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a change touched: the kind of object, its reference, and its version from now on."""

    kind: str
    ref: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of the log: how many changes there were, and the last link of the activity chain."""

    epoch: str
    position: int
    activity_number: int
    activity_hash: bytes

    @property
    def place(self) -> Place:
        return Place(self.activity_number, self.activity_hash, self.position)

    def row(self) -> dict[str, Cell]:
        return {
            "id": 1,
            "epoch": self.epoch,
            "position": self.position,
            "activity_number": self.activity_number,
            "activity_hash": self.activity_hash,
        }


def create_head(session: Session, epoch: UUID) -> None:
    """The head of a new installation, before the first entry."""
    head = Head(epoch=str(epoch), position=0, activity_number=0, activity_hash=GENESIS)
    row = head.row()
    session.connection.execute(
        insert(change_head).values(**row, mac=session.sealer.seal(change_head.name, row))
    )


def read_head(session: Session, *, lock: bool = False) -> Head:
    """The head as it stands. Raises `IntegrityFailed` where its seal does not fit, or where the log
    does not go on from the place that this process knows."""
    query = select(change_head).where(change_head.c.id == 1)
    found = (
        session.connection.execute(query.with_for_update() if lock else query).mappings().first()
    )
    if found is None:
        raise IntegrityFailed("The change log has no head; restore the database from a backup.")
    row = {name: cell for name, cell in found.items() if name != MAC}
    if not session.sealer.holds(change_head.name, row, found[MAC]):
        raise IntegrityFailed(
            "The head of the change log was changed from outside; run `keyturn activity verify`."
        )
    head = Head(
        epoch=row["epoch"],
        position=row["position"],
        activity_number=row["activity_number"],
        activity_hash=row["activity_hash"],
    )
    # Who holds the lock sees the newest head there is, whenever its transaction began.
    _require_going_on(session, head, session.memory.newest(None if lock else session.mark))
    session.reached = head.place
    return head


def _require_going_on(session: Session, head: Head, known: Place | None) -> None:
    if known is None or head.place == known:
        return
    if head.activity_number > known.number and head.position >= known.position:
        there = session.connection.execute(
            select(activity.c.hash).where(activity.c.number == known.number)
        ).scalar()
        if known.number == 0 or there == known.hash:
            return
    raise IntegrityFailed(
        f"The log does not go on from entry {known.number}, which it had reached: an old copy of "
        "the database was put back. See `keyturn activity verify`; if you restored a backup, move "
        "the file of signed heads aside and start again."
    )


class ChangeLog:
    """The log as one writing transaction sees it: the head is locked from beginning to end."""

    def __init__(self, session: Session) -> None:
        self._session = session
        if session.memory.fault is not None:
            raise IntegrityFailed(session.memory.fault)
        self._begun = read_head(session, lock=True)
        self.head = self._begun

    def append(self, entry: Entry, change: Change | None = None) -> int:
        """Writes the entry, and the change if there is one. Returns the position after it."""
        return self.append_all([(entry, change)])

    def append_all(self, several: Sequence[tuple[Entry, Change | None]]) -> int:
        """As `append`, for many in their order."""
        entries: list[dict[str, Cell]] = []
        logged_rows: list[dict[str, Cell]] = []
        for entry, change in several:
            entry_cells, logged = self._linked(entry, change)
            entries.append(entry_cells)
            if logged is not None:
                row = change_row(logged)
                logged_rows.append({**row, MAC: self._session.sealer.seal(changes.name, row)})
                self._session.seen.append(Seen(logged.kind, logged.ref, logged.version))
        if logged_rows:
            self._session.connection.execute(insert(changes), logged_rows)
        if entries:
            self._session.connection.execute(insert(activity), entries)
        return self.head.position

    def _linked(
        self, entry: Entry, change: Change | None
    ) -> tuple[dict[str, Cell], LoggedChange | None]:
        """The row of an entry as the next link of the chain, with its change; the head is on it."""
        position = self.head.position + (change is not None)
        entry = replace(entry, position=None if change is None else position)
        number = self.head.activity_number + 1
        content_hash = entry.content_hash()
        logged = None if change is None else _logged(change, entry, position)
        link = chain(self.head.activity_hash, number, entry.expires_at, content_hash, logged)
        self.head = replace(
            self.head, position=position, activity_number=number, activity_hash=link
        )
        cells: dict[str, Cell] = {
            "number": number,
            "content_hash": content_hash,
            "hash": link,
            **entry_row(entry),
        }
        return cells, logged

    def finish(self) -> None:
        """Writes the head, at the end of the transaction."""
        if self.head == self._begun:
            return
        row = self.head.row()
        done = self._session.connection.execute(
            update(change_head)
            .where(
                change_head.c.id == 1,
                change_head.c.position == self._begun.position,
                change_head.c.activity_number == self._begun.activity_number,
            )
            .values(**row, mac=self._session.sealer.seal(change_head.name, row))
        )
        if done.rowcount != 1:
            raise IntegrityFailed(
                "The head of the change log was changed from outside; nothing was changed by us."
            )
        self._session.reached = self.head.place
        if self.head.position != self._begun.position:
            self._tell()

    def _tell(self) -> None:
        """Where nodes may listen, they are told once this is committed."""
        connection = self._session.connection
        if connection.dialect.name == "postgresql":
            connection.execute(text("NOTIFY keyturn_changes"))


def _logged(change: Change, entry: Entry, position: int) -> LoggedChange:
    return LoggedChange(
        position=position,
        kind=change.kind,
        ref=change.ref,
        version=change.version,
        workspace_id=None if entry.workspace_id is None else str(entry.workspace_id),
        at=entry.created_at,
    )
