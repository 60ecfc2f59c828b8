"""Scrubbing: looking for damage in what nobody reads.

A damaged row is reported when it is read. The scrub reads everything in turn, a little at a time:

1. the positions of the change log are counted each time: a gap, or one too many, stops all changes
   (`Memory.fault`) until it is mended, and verification of sound keys goes on;
2. the seals of the changes, and whether the row that each tells of is there: keys, workspaces,
   operators, slots, rotations, findings, incidents and channels are never deleted by us;
3. each sealed row, against its seal and its last change.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from keyturn.domain.activity import LoggedChange
from keyturn.domain.error import IntegrityFailed
from keyturn.services.context import Context
from keyturn.storage.activity import place_of
from keyturn.storage.sealed import Damage
from keyturn.storage.transaction import Reading

PAGE = 1_000

_KINDS = (
    "workspace",
    "operator",
    "slot",
    "key",
    "rotation",
    "finding",
    "incident",
    "incident_key",
    "channel",
)


class Scrub:
    """One process's scrub; `step` does a little of it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._after: int | None = None
        self._kinds = 0
        self._row: tuple[str, ...] | None = None

    def step(self) -> None:
        """Counts the positions, and checks a page of changes and a page of rows. Damage goes the
        way of all damage."""
        store = self._context.store
        with store.read() as transaction:
            store.memory.fault = find_gap(transaction)
            log = transaction.activity
            page = log.sealed_changes(after=self._after, limit=PAGE)
            transaction.session.damage += _damaged_changes(transaction, page)
            self._after = _end(page)
            kind = _KINDS[self._kinds % len(_KINDS)]
            rows = transaction.rows(kind, after=self._row, limit=PAGE)
            self._row = rows[-1] if len(rows) == PAGE else None
            if self._row is None:
                self._kinds += 1


def find_gap(transaction: Reading) -> str | None:
    """Why no change may be made: what is missing in the change log, or None."""
    try:
        head = transaction.head()
    except IntegrityFailed as error:
        return error.detail
    count, first, last = transaction.activity.span()
    if count == head.position == (last or 0) and (first or 1) == 1:
        return None
    return (
        f"The change log has {count} changes up to position {last}, its head says {head.position}: "
        "changes were taken out or put in from outside. Restore the database from a backup."
    )


def walk_rows(transaction: Reading) -> Iterator[Damage]:
    """The damage of all sealed rows."""
    damage = transaction.session.damage
    for kind in _KINDS:
        after: tuple[str, ...] | None = None
        while True:
            known = len(damage)
            rows = transaction.rows(kind, after=after, limit=PAGE)
            yield from damage[known:]
            if len(rows) < PAGE or rows[-1] == after:
                break
            after = rows[-1]


def missing_rows(transaction: Reading) -> Iterator[Damage]:
    """The objects that the change log tells of and that are not there any more."""
    after: int | None = None
    while True:
        page = transaction.activity.sealed_changes(after=after, limit=PAGE)
        yield from _missing(transaction, (change for change, _ in page))
        if (after := _end(page)) is None:
            return


def _damaged_changes(
    transaction: Reading, page: Sequence[tuple[LoggedChange, bool]]
) -> list[Damage]:
    edited = [
        Damage("change", str(change.position)) for change, is_genuine in page if not is_genuine
    ]
    genuine = (change for change, is_genuine in page if is_genuine)
    return [*edited, *_missing(transaction, genuine)]


def _missing(transaction: Reading, changes: Iterable[LoggedChange]) -> Iterator[Damage]:
    refs: dict[str, set[str]] = defaultdict(set)
    for change in changes:
        if change.kind in _KINDS:
            refs[change.kind].add(str(change.ref))
    for kind, wanted in refs.items():
        there = transaction.present(kind, wanted)
        yield from (Damage(kind, ref) for ref in sorted(wanted - there))


def _end(page: Sequence[tuple[LoggedChange, bool]]) -> int | None:
    """Where the next page begins, None where this was the last."""
    if len(page) < PAGE:
        return None
    return max((at for one, _ in page if (at := place_of(one)) is not None), default=None)
