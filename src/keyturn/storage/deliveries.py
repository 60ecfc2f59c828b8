"""Keeping deliveries: the outbox of new tokens.

Each attempt writes its row, which would fill the log of changes; so a row is under a seal of its
own and not in that log. An old genuine row that is put back makes a delivery be tried again, which
has no effect where its token stands already. A damaged one is nobody's to carry out: it is left out
where work is looked for, and counts as not delivered.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    delete,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    text,
    true,
    update,
)

from keyturn.domain.delivery import LONGEST_WAIT, OPEN_STATES, Delivery, DeliveryState
from keyturn.domain.error import IntegrityFailed
from keyturn.domain.seal import Cell
from keyturn.domain.slot import SlotName
from keyturn.storage.records import id_of
from keyturn.storage.schema import HAS_ENDED, HAS_TOKEN, deliveries
from keyturn.storage.sealed import MAC, Damage
from keyturn.storage.session import Session
from keyturn.storage.slots import name_matches

KIND = "delivery"

_has_token = text(HAS_TOKEN)
_has_ended = text(HAS_ENDED)
_columns = tuple(column.name for column in deliveries.columns if column.name != MAC)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Which deliveries to list; None asks for any. `slots` are patterns, `("*",)` for all."""

    states: tuple[DeliveryState, ...] | None = None
    slots: tuple[str, ...] = ("*",)
    slot: SlotName | None = None
    key_id: UUID | None = None
    rotation_id: UUID | None = None
    destination: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many deliveries are open, and of how many of these the last attempt failed."""

    open: int
    failing: int


class Deliveries:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, delivery: Delivery) -> None:
        self._session.connection.execute(insert(deliveries), self._sealed(delivery))

    def replace(self, delivery: Delivery) -> None:
        """Writes over what stands there; who calls has read it in this transaction."""
        self._session.connection.execute(
            update(deliveries)
            .where(deliveries.c.id == str(delivery.id))
            .values(**self._sealed(delivery))
        )

    def find(self, workspace_id: UUID, id: UUID) -> Delivery | None:  # noqa: A002
        """The delivery, or None. Raises `IntegrityFailed` where its row is damaged."""
        row = self._session.connection.execute(
            _selected().where(
                deliveries.c.workspace_id == str(workspace_id), deliveries.c.id == str(id)
            )
        ).first()
        if row is None:
            return None
        delivery = self._opened(row)
        if delivery is None:
            raise IntegrityFailed(
                "The stored record of this delivery was changed from outside; it is not carried "
                "out. See the activity log, and rotate the key."
            )
        return delivery

    def workspace_of(self, id: UUID) -> UUID | None:  # noqa: A002
        """The workspace that a delivery says it is in, for an operator who names it alone."""
        found = self._session.connection.execute(
            select(deliveries.c.workspace_id).where(deliveries.c.id == str(id))
        ).scalar()
        return id_of(found)

    def of_key(self, key_id: UUID) -> Sequence[Delivery]:
        """Those of a key, oldest first. Raises `IntegrityFailed` where one is damaged."""
        query = _selected().where(deliveries.c.key_id == str(key_id)).order_by(deliveries.c.id)
        found = []
        for row in self._session.connection.execute(query):
            delivery = self._opened(row)
            if delivery is None:
                raise IntegrityFailed("The stored record of a delivery was changed from outside.")
            found.append(delivery)
        return found

    def due(
        self,
        now: int,
        *,
        limit: int,
        no_workspaces: Collection[UUID] = (),
        no_destinations: Collection[UUID] = (),
    ) -> Sequence[Delivery]:
        """At most `limit` that have something to do now, those that waited longest first, and what
        a clock that was ahead has put off. Left out are damaged rows, and what is behind an earlier
        one of the same place that is not done yet: these go one after another."""
        is_due = or_(deliveries.c.next_at <= now, deliveries.c.next_at > now + LONGEST_WAIT)
        query = (
            _selected()
            .where(_has_token, is_due, ~_is_behind_another())
            .order_by(deliveries.c.next_at, deliveries.c.id)
        )
        if no_workspaces:
            query = query.where(deliveries.c.workspace_id.not_in(sorted(map(str, no_workspaces))))
        if no_destinations:
            named = sorted(map(str, no_destinations))
            query = query.where(deliveries.c.destination_id.not_in(named))
        return self._session.gather(query, limit, self._opened)

    def next_at(self) -> int | None:
        """When the next one has something to do, None where none ever has."""
        query = select(func.min(deliveries.c.next_at)).where(_has_token)
        found = self._session.connection.execute(query).scalar()
        return found if isinstance(found, int) else None

    def of_destination(self, destination_id: UUID) -> Sequence[Delivery]:
        """Those at a destination that have something to do. Damaged rows are left out."""
        query = (
            _selected()
            .where(_has_token, deliveries.c.destination_id == str(destination_id))
            .order_by(deliveries.c.id)
        )
        rows = self._session.connection.execute(query).all()
        return [one for row in rows if (one := self._opened(row)) is not None]

    def is_in_use(self, destination_id: UUID) -> bool:
        """Whether anything has still to be done at a destination."""
        query = (
            select(deliveries.c.id)
            .where(deliveries.c.destination_id == str(destination_id), _has_token)
            .limit(1)
        )
        return self._session.connection.execute(query).first() is not None

    def failing(self, workspace_id: UUID, failures: int, *, limit: int) -> Sequence[Delivery]:
        """Those of a workspace that have failed so often in a row. Damaged rows are left out."""
        query = (
            _selected()
            .where(
                _has_token,
                deliveries.c.workspace_id == str(workspace_id),
                deliveries.c.failures >= failures,
            )
            .order_by(deliveries.c.id)
        )
        return self._session.gather(query, limit, self._opened)

    def list(
        self, workspace_id: UUID, wanted: DeliveryFilter, *, limit: int, before: UUID | None
    ) -> Sequence[Delivery]:
        """At most `limit` deliveries, newest first, from `before` on. Damaged rows are left out."""
        query = (
            _selected()
            .where(deliveries.c.workspace_id == str(workspace_id), _wanted(wanted))
            .order_by(deliveries.c.id.desc())
        )
        if before is not None:
            query = query.where(deliveries.c.id < str(before))
        return self._session.gather(query, limit, self._opened)

    def count(self, workspace_id: UUID, wanted: DeliveryFilter) -> int:
        query = (
            select(func.count())
            .select_from(deliveries)
            .where(deliveries.c.workspace_id == str(workspace_id), _wanted(wanted))
        )
        return int(self._session.connection.execute(query).scalar_one())

    def tally(self) -> Tally:
        """Those of the whole installation, counted."""
        is_open = deliveries.c.state.in_(sorted(one.value for one in OPEN_STATES))
        query = select(func.count(), func.count().filter(deliveries.c.failures > 0))
        open_, failing = self._session.connection.execute(query.where(_has_token, is_open)).one()
        return Tally(open=int(open_), failing=int(failing))

    def silence(self, destination_id: UUID, slot: SlotName) -> int:
        """Takes the tokens out of the damaged ones of a place, which nobody may carry out and
        behind which another would wait for ever. They stay damage. Says how many."""
        query = _selected().where(
            deliveries.c.destination_id == str(destination_id),
            deliveries.c.service == slot.service,
            deliveries.c.environment == slot.environment,
            _has_token,
        )
        damaged = [
            row[0]
            for row in self._session.connection.execute(query).all()
            if self._opened(row) is None
        ]
        for id_ in damaged:
            self._session.connection.execute(
                update(deliveries).where(deliveries.c.id == id_).values(token=None, previous=None)
            )
        return len(damaged)

    def purge(self, ended_before: int, *, limit: int) -> int:
        """Removes at most `limit` that have ended for so long, damaged ones too. What is delivered
        stays: it tells that nobody was shown the token."""
        old = (
            select(deliveries.c.id)
            .where(_has_ended, deliveries.c.updated_at < ended_before)
            .order_by(deliveries.c.updated_at)
            .limit(limit)
        )
        # Asked for first: an engine would rather walk over all of them than join these few.
        ids = self._session.connection.execute(old).scalars().all()
        if ids:
            self._session.connection.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))
        return len(ids)

    def _sealed(self, delivery: Delivery) -> dict[str, Cell]:
        row = delivery_row(delivery)
        return {**row, MAC: self._session.sealer.seal(deliveries.name, row)}

    def _opened(self, row: Sequence[Any]) -> Delivery | None:
        cells: dict[str, Any] = dict(zip(_columns, row, strict=False))
        if self._session.sealer.holds(deliveries.name, cells, row[-1]):
            return delivery_of(cells)
        self._session.damage.append(Damage(KIND, str(row[0])))
        return None


def _selected() -> Select[*tuple[Any, ...]]:
    return select(*(deliveries.c[name] for name in _columns), deliveries.c[MAC])


def _is_behind_another() -> ColumnElement[bool]:
    """Whether an earlier delivery of the same place is not done yet."""
    earlier = deliveries.alias("earlier")
    return exists(
        select(earlier.c.id).where(
            earlier.c.destination_id == deliveries.c.destination_id,
            earlier.c.service == deliveries.c.service,
            earlier.c.environment == deliveries.c.environment,
            earlier.c.state.in_(sorted(one.value for one in OPEN_STATES)),
            earlier.c.token.is_not(None),
            earlier.c.id < deliveries.c.id,
        )
    )


def _wanted(wanted: DeliveryFilter) -> ColumnElement[bool]:
    terms: list[ColumnElement[bool]] = [_in_slots(wanted.slots)]
    if wanted.states is not None:
        terms.append(_in_states(wanted.states))
    if wanted.slot is not None:
        terms.append(deliveries.c.service == wanted.slot.service)
        terms.append(deliveries.c.environment == wanted.slot.environment)
    if wanted.key_id is not None:
        terms.append(deliveries.c.key_id == str(wanted.key_id))
    if wanted.rotation_id is not None:
        terms.append(deliveries.c.rotation_id == str(wanted.rotation_id))
    if wanted.destination is not None:
        terms.append(deliveries.c.destination == wanted.destination)
    return and_(*terms)


def _in_states(states: Collection[DeliveryState]) -> ColumnElement[bool]:
    return deliveries.c.state.in_(sorted(one.value for one in states))


def _in_slots(patterns: tuple[str, ...]) -> ColumnElement[bool]:
    if "*" in patterns:
        return true()
    names = (deliveries.c.service, deliveries.c.environment)
    return or_(false(), *(name_matches(*names, one) for one in patterns))


def delivery_row(delivery: Delivery) -> dict[str, Cell]:
    rotation_id = delivery.rotation_id
    return {
        "id": str(delivery.id),
        "workspace_id": str(delivery.workspace_id),
        "service": delivery.slot.service,
        "environment": delivery.slot.environment,
        "key_id": str(delivery.key_id),
        "rotation_id": None if rotation_id is None else str(rotation_id),
        "destination_id": str(delivery.destination_id),
        "destination": delivery.destination,
        "state": delivery.state.value,
        "token": delivery.token,
        "previous": delivery.previous,
        "mark": delivery.mark,
        "begun_at": delivery.begun_at,
        "attempts": delivery.attempts,
        "failures": delivery.failures,
        "next_at": delivery.next_at,
        "fault_kind": delivery.fault_kind,
        "fault": delivery.fault,
        "location": delivery.location,
        "receipt": delivery.receipt,
        "delivered_at": delivery.delivered_at,
        "checked_at": delivery.checked_at,
        "ended_at": delivery.ended_at,
        "created_at": delivery.created_at,
        "created_by": delivery.created_by,
        "updated_at": delivery.updated_at,
    }


def delivery_of(row: dict[str, Any]) -> Delivery:
    rotation_id = row["rotation_id"]
    return Delivery(
        id=UUID(row["id"]),
        workspace_id=UUID(row["workspace_id"]),
        slot=SlotName(service=row["service"], environment=row["environment"]),
        key_id=UUID(row["key_id"]),
        rotation_id=None if rotation_id is None else UUID(rotation_id),
        destination_id=UUID(row["destination_id"]),
        destination=row["destination"],
        state=DeliveryState(row["state"]),
        token=row["token"],
        previous=row["previous"],
        mark=row["mark"],
        begun_at=row["begun_at"],
        attempts=row["attempts"],
        failures=row["failures"],
        next_at=row["next_at"],
        fault_kind=row["fault_kind"],
        fault=row["fault"],
        location=row["location"],
        receipt=row["receipt"],
        delivered_at=row["delivered_at"],
        checked_at=row["checked_at"],
        ended_at=row["ended_at"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        updated_at=row["updated_at"],
    )
