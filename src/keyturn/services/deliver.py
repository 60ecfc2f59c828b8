"""Delivering: what lies in the outbox is brought to its place, read back, and only then believed.

1. An attempt goes: look at the place; record that it will be written, and what stood there; write
   over just that; read back; compare; record. It may be killed between any two of these, and the
   next attempt goes on from what it finds: a token that stands there is not written again.
2. Each attempt asks the record anew, before it writes and before it says done: a rollback that
   came between is found, and the old token is put back.
3. The token of a newer key that works is never written over (`domain/delivery.py`, rule 2), nor is
   what was there first and is no token of this installation.
4. Of one place at most one delivery is open, the oldest; one slow destination holds up no other.
5. What is delivered is looked for again while its rotation is open: a place that loses it makes the
   rotation wait.
"""

import hmac
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from keyturn.destinations.contract import Destination as Opened
from keyturn.destinations.contract import DestinationFault, FaultKind, Held
from keyturn.domain.delivery import (
    TOLD_FROM,
    Delivery,
    DeliveryAct,
    DeliveryState,
    Sighting,
    judge_place,
)
from keyturn.domain.destination import Destination
from keyturn.domain.error import IntegrityFailed, KeyturnError
from keyturn.domain.finding import Cause, FindingKind, Severity, SubjectType
from keyturn.domain.key import Key, KeyStatus
from keyturn.domain.token import Token, parse_token
from keyturn.services.connect import open_destination
from keyturn.services.context import Context
from keyturn.services.dispatch import keep_delivery, note_delivery, previous_place, token_place
from keyturn.services.find import reconcile
from keyturn.services.journal import DELIVERER
from keyturn.storage.transaction import Reading, Writing

PAGE = 200
_MOST_FAILING = 1_000
DELIVERY_KINDS = (FindingKind.DELIVERY_FAILING,)

_log = logging.getLogger("keyturn.deliveries")

# Runs these at once, as many as it likes, and returns when all have ended.
Together = Callable[[Sequence[Callable[[], None]]], None]


def one_by_one(tasks: Sequence[Callable[[], None]]) -> None:
    """Without threads, for tests."""
    for task in tasks:
        task()


class Deliverer:
    """One process's hand on the outbox; `step` is one round."""

    def __init__(self, context: Context, together: Together = one_by_one) -> None:
        self._context = context
        self._together = together
        self._unsettled: set[UUID] = set()

    def step(self) -> int:
        """Tries everything that is due, and says how many it tried. Raises `StorageUnavailable`."""
        now = self._context.clock.now()
        with self._context.store.read() as reading:
            due = reading.deliveries.due(now, limit=PAGE)
            due = [one for one in due if not reading.deliveries.is_behind_another(one)]
        lanes: dict[UUID, list[Delivery]] = {}
        for delivery in due:
            lanes.setdefault(delivery.destination_id, []).append(delivery)
        self._together([_lane(self._context, lane) for lane in lanes.values()])
        self._unsettled |= {one.workspace_id for one in due}
        for workspace_id in sorted(self._unsettled):
            tell_failing(self._context, workspace_id)
            self._unsettled.discard(workspace_id)
        return len(due)


def _lane(context: Context, deliveries: Sequence[Delivery]) -> Callable[[], None]:
    """The attempts at one destination, one after another. After one that failed for the whole place
    the others wait for their next time."""

    def work() -> None:
        for delivery in deliveries:
            try:
                Attempt(context, delivery).carry_out()
            except KeyturnError as error:
                _log.warning("delivery %s: %s", delivery.id, error.detail)
            except Exception:  # noqa: BLE001  (one delivery must not hold up the others)
                _log.exception("delivery %s failed", delivery.id)

    return work


@dataclass(slots=True, kw_only=True)
class _Errand:
    """What is to stand at the place in the end, and what may be there meanwhile."""

    key: Key
    destination: Destination
    wanted: str = field(repr=False)
    instead_of: str | None = field(default=None, repr=False)


class Attempt:
    """One attempt at one delivery."""

    def __init__(self, context: Context, delivery: Delivery) -> None:
        self._context = context
        self._asked = delivery
        self._location: str | None = None

    def carry_out(self) -> None:
        """Raises `StorageUnavailable`; what the destination does wrong is recorded."""
        errand = self._prepare()
        if errand is None:
            return
        try:
            opened = open_destination(self._context, errand.destination)
            try:
                self._location = opened.locate(self._asked.slot)
                self._bring(opened, errand)
            finally:
                with suppress(DestinationFault):
                    opened.close()
        except DestinationFault as fault:
            self._fail(fault.kind, fault.detail)
        except IntegrityFailed as fault:
            self._fail(FaultKind.DENIED, fault.detail)

    def _prepare(self) -> _Errand | None:
        """What there is to do; None for nothing, which is recorded where it is news."""
        context = self._context
        with context.store.read() as reading:
            delivery = reading.deliveries.find(self._asked.workspace_id, self._asked.id)
            if delivery is None or delivery.token is None:
                return None
            self._asked = delivery
            key = self._key(reading)
            destination = reading.destinations.find(delivery.workspace_id, delivery.destination_id)
        fault = _hopeless(delivery, key, destination, context.clock.now())
        if fault is not None or key is None or destination is None:
            self._end(DeliveryAct.CANCEL, fault or "")
            return None
        if not destination.is_proven:
            self._fail(FaultKind.DENIED, f"The destination {destination.name} is not proven.")
            return None
        try:
            token = context.strongbox.open(token_place(delivery), delivery.token).decode()
            if delivery.state is not DeliveryState.RESTORING:
                return _Errand(key=key, destination=destination, wanted=token)
            previous = context.strongbox.open(previous_place(delivery), delivery.previous).decode()
        except IntegrityFailed as error:
            self._fail(FaultKind.DENIED, error.detail)
            return None
        return _Errand(key=key, destination=destination, wanted=previous, instead_of=token)

    def _key(self, reading: Reading) -> Key | None:
        """The key whose token it is; a damaged one is no key that works."""
        try:
            return reading.keys.find(self._asked.workspace_id, self._asked.key_id)
        except IntegrityFailed:
            return None

    # --- at the place ----------------------------------------------------------------------------

    def _bring(self, opened: Opened, errand: _Errand) -> None:
        slot = self._asked.slot
        held = opened.read(slot)
        sighting = self._judge(held, errand)
        if sighting is Sighting.NEWER:
            self._end(DeliveryAct.SUPERSEDE, "Something newer is there already.")
            return
        if held is not None and sighting is Sighting.THERE:
            self._arrive(held.version)
            return
        self._require_writable(held)
        if self._asked.state is DeliveryState.DELIVERED and not self._lose():
            return
        if not self._begin(held, errand):
            return
        opened.write(slot, errand.wanted, None if held is None else held.version)
        again = opened.read(slot)
        if again is None or not hmac.compare_digest(again.value.encode(), errand.wanted.encode()):
            raise DestinationFault(
                FaultKind.BROKEN, "It took the token, and what it gave back is another one."
            )
        self._arrive(again.version)

    def _require_writable(self, held: Held | None) -> None:
        """What was there before us and is no token of ours is somebody's, and may be all that there
        is of it. Raises `DestinationFault`."""
        is_foreign = held is not None and held.value.strip() and self._ours(held.value) is None
        if is_foreign and self._asked.begun_at is None:
            raise DestinationFault(
                FaultKind.CONFLICT,
                f"What lies at {self._location} is no token of this installation, and is not "
                "written over. Take it away, or give the destination another place.",
            )

    def _judge(self, held: Held | None, errand: _Errand) -> Sighting:
        value = None if held is None else held.value
        if errand.instead_of is not None and value not in (None, errand.instead_of, errand.wanted):
            return Sighting.NEWER  # somebody has put something else there: it is not ours to undo
        token = self._ours(value)
        return judge_place(value, errand.wanted, is_newer=self._is_newer(token, errand.key))

    def _ours(self, value: str | None) -> Token | None:
        return None if value is None else parse_token(value.strip(), brand=self._context.brand)

    def _is_newer(self, token: Token | None, key: Key) -> bool:
        """Whether it is the token of a key of this slot that was made later, and works."""
        if token is None or token.id == key.id or self._asked.state is DeliveryState.RESTORING:
            return False
        other = self._holder(token, key)
        if other is None or (other.created_at, other.id) <= (key.created_at, key.id):
            return False
        return other.status(self._context.clock.now()) is KeyStatus.ACTIVE

    def _holder(self, token: Token, key: Key) -> Key | None:
        """The key of this slot whose token it is: by its secret, not by what it says of itself."""
        with self._context.store.read() as reading, suppress(IntegrityFailed):
            other = reading.keys.find(key.workspace_id, token.id)
            if other is not None and other.slot == key.slot:
                is_its = self._context.ring.matches(
                    other.digest,
                    other.peppers,
                    workspace_id=key.workspace_id,
                    id=token.id,
                    secret=token.secret(),
                )
                return other if is_its else None
        return None

    # --- in the record ---------------------------------------------------------------------------

    def _present(self, transaction: Writing) -> Delivery | None:
        """The delivery, where it is still what this attempt is about."""
        present = transaction.deliveries.find(self._asked.workspace_id, self._asked.id)
        if present is None or present.state is not self._asked.state or present.token is None:
            return None
        return present

    def _begin(self, held: Held | None, errand: _Errand) -> bool:
        """Records that the place will be written. False where that is not wanted any more."""
        context = self._context
        previous = self._previous(held, errand)
        with context.store.change() as transaction:
            present = self._present(transaction)
            if present is None:
                return False
            now = context.clock.now()
            begun = present.begun(previous, self._location or "", now)
            transaction.deliveries.replace(begun)
        self._asked = begun
        return True

    def _previous(self, held: Held | None, errand: _Errand) -> bytes | None:
        """The token of the rotation's old key, sealed, where that is what stands there."""
        one = self._asked
        if held is None or one.rotation_id is None or one.previous is not None:
            return None
        token = self._ours(held.value)
        with self._context.store.read() as reading:
            rotation = None
            with suppress(IntegrityFailed):
                rotation = reading.rotations.find(one.workspace_id, one.rotation_id)
        if token is None or rotation is None or token.id != rotation.old_key_id:
            return None
        if self._holder(token, errand.key) is None:
            return None
        return self._context.strongbox.seal(
            self._context.entropy, previous_place(one), held.value.encode()
        )

    def _arrive(self, version: str) -> None:
        """Records that what is wanted is there."""
        context = self._context
        with context.store.change() as transaction:
            present = self._present(transaction)
            if present is None:
                return  # a rollback came between: the next attempt puts the old token back
            now = context.clock.now()
            following = present.arrived(version, self._location or "", now)
            keep_delivery(context, transaction, DELIVERER, present, following, now)

    def _lose(self) -> bool:
        """Records that a token which was delivered is not there any more."""
        context = self._context
        with context.store.change() as transaction:
            present = self._present(transaction)
            if present is None:
                return False
            now = context.clock.now()
            lost = present.lost(now)
            keep_delivery(context, transaction, DELIVERER, present, lost, now)
        self._asked = lost
        return True

    def _end(self, act: DeliveryAct, fault: str) -> None:
        context = self._context
        with context.store.change() as transaction:
            present = self._present(transaction)
            if present is None:
                return
            now = context.clock.now()
            ended = present.ended(act, fault or None, now)
            keep_delivery(context, transaction, DELIVERER, present, ended, now)

    def _fail(self, kind: str, detail: str) -> None:
        """Records a failure, with an entry where it is of another kind than the last one."""
        context = self._context
        with context.store.change() as transaction:
            present = self._present(transaction)
            if present is None:
                return
            now = context.clock.now()
            failed = present.failed(str(kind), detail, now)
            transaction.deliveries.replace(failed)
            if present.fault_kind != failed.fault_kind:
                note_delivery(context, transaction, DELIVERER, failed, "failing", now)


def _hopeless(
    delivery: Delivery, key: Key | None, destination: Destination | None, now: int
) -> str | None:
    """Why there is nothing left to try."""
    if destination is None or destination.credential is None:
        return "The destination is no more."
    if delivery.state is DeliveryState.RESTORING:
        return None
    if key is None:
        return "The record of its key was taken away, or changed from outside."
    if key.status(now) in (KeyStatus.REVOKED, KeyStatus.EXPIRED):
        return "Its key does not work any more."
    return None


def tell_failing(context: Context, workspace_id: UUID) -> None:
    """Opens a finding for each delivery that has failed several times, and resolves the others."""
    with context.store.read() as reading:
        failing = reading.deliveries.failing(workspace_id, TOLD_FROM, limit=_MOST_FAILING)
    causes = [_failing(one) for one in failing]
    reconcile(context, workspace_id, causes, DELIVERY_KINDS)


def _failing(delivery: Delivery) -> Cause:
    is_rotations = delivery.rotation_id is not None
    return Cause(
        kind=FindingKind.DELIVERY_FAILING,
        subject_type=SubjectType.KEY,
        subject_id=str(delivery.key_id),
        slot=delivery.slot,
        mark=str(delivery.id),
        severity=Severity.WARNING,
        evidence={
            "slot": str(delivery.slot),
            "delivery_id": str(delivery.id),
            "destination": delivery.destination,
            "rotation_id": str(delivery.rotation_id) if is_rotations else None,
            "location": delivery.location,
            "fault_kind": delivery.fault_kind,
            "fault": delivery.fault,
            "next_step": f"See to {delivery.destination}: it is tried again by itself, and at once "
            f"by `keyturn deliveries retry {delivery.id}`.",
        },
    )
