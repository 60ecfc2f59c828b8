"""Delivering: what lies in the outbox is brought to its place, read back, and only then believed.

1. An attempt goes: look at the place; record that it will be written, and what stood there; write
   over just that; read back; compare; record. It may be killed between any two of these, and the
   next attempt goes on from what it finds: a token that stands there is not written again.
2. Each attempt asks the record anew, before it writes and before it says done: a rollback that
   came between is found, and the old token is put back.
3. The token of a newer key that works is never written over (`domain/delivery.py`, rule 2), nor is
   what was there first and is no token of this installation.
4. Of one place at most one delivery is open, the oldest; one slow destination holds up no other,
   nor one workspace another. What failed for the whole destination is not tried again at once for
   the next slot.
5. What is delivered is looked for again while its rotation is open: a place that loses it makes the
   rotation wait. Where an end of the rotation has missed a delivery, it is settled here.
"""

import hmac
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Protocol
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
from keyturn.domain.rotation import Rotation
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

# A workspace and one of its destinations: what is tried there, is tried one after another.
Lane = tuple[UUID, UUID]

# The destination as a whole did not answer: the next slot would wait for it just as long.
_WHOLE = frozenset({FaultKind.UNREACHABLE, FaultKind.TIMED_OUT, FaultKind.ADDRESS_REFUSED})


class Together(Protocol):
    """Has lanes worked on side by side."""

    def full(self) -> tuple[Collection[UUID], Collection[UUID]]:
        """The workspaces and the destinations for which nothing can be begun now."""
        ...

    def begin(self, lanes: Mapping[Lane, Callable[[], None]]) -> None:
        """Begins those that it has room for, of none that is at work."""
        ...


class OneByOne:
    """Without threads, for tests."""

    def full(self) -> tuple[Collection[UUID], Collection[UUID]]:
        return (), ()

    def begin(self, lanes: Mapping[Lane, Callable[[], None]]) -> None:
        for work in lanes.values():
            work()


class Deliverer:
    """One process's hand on the outbox; `step` is one round."""

    def __init__(self, context: Context, together: Together | None = None) -> None:
        self._context = context
        self._together = together or OneByOne()
        self._touched: SimpleQueue[UUID] = SimpleQueue()
        self._unsettled: set[UUID] = set()
        self._is_stopping = False

    def step(self) -> int:
        """Has everything tried that is due and not being tried, and says how much that is. Raises
        `StorageUnavailable`."""
        now = self._context.clock.now()
        workspaces, destinations = self._together.full()
        with self._context.store.read() as reading:
            due = reading.deliveries.due(
                now, limit=PAGE, no_workspaces=workspaces, no_destinations=destinations
            )
        lanes: dict[Lane, list[Delivery]] = {}
        for one in due:
            lanes.setdefault((one.workspace_id, one.destination_id), []).append(one)
        self._together.begin({lane: self._work(lane, found) for lane, found in lanes.items()})
        while not self._touched.empty():
            self._unsettled.add(self._touched.get())
        for workspace_id in sorted(self._unsettled):
            tell_failing(self._context, workspace_id)
            self._unsettled.discard(workspace_id)
        return len(due)

    def stop(self) -> None:
        """Begins no further attempt."""
        self._is_stopping = True

    def _work(self, lane: Lane, deliveries: Sequence[Delivery]) -> Callable[[], None]:
        def work() -> None:
            fault: DestinationFault | None = None
            try:
                for delivery in deliveries:
                    if not self._is_stopping:
                        fault = self._try(delivery, fault)
            finally:
                self._touched.put(lane[0])

        return work

    def _try(self, delivery: Delivery, earlier: DestinationFault | None) -> DestinationFault | None:
        """One attempt. What kept the last one from the whole destination keeps this one too."""
        attempt = Attempt(self._context, delivery)
        try:
            if earlier is not None and earlier.kind in _WHOLE:
                attempt.fail(earlier)
                return earlier
            return attempt.carry_out()
        except KeyturnError as error:
            _log.warning("delivery %s: %s", delivery.id, error.detail)
        except Exception as error:  # noqa: BLE001  (one delivery must not hold up the others)
            # Its text may hold what it was about; nor may it be tried again without a pause.
            _log.error("delivery %s failed: %s", delivery.id, type(error).__name__)
            with suppress(KeyturnError):
                attempt.fail(DestinationFault(FaultKind.BROKEN, _UNEXPECTED))
        return None


_UNEXPECTED = "It failed in a way that is not provided for; the server's log names the fault."


@dataclass(slots=True, kw_only=True)
class _Errand:
    """What is to stand at the place in the end, and what may be there meanwhile."""

    key: Key
    rotation: Rotation | None
    destination: Destination
    wanted: str = field(repr=False)
    instead_of: str | None = field(default=None, repr=False)


class Attempt:
    """One attempt at one delivery."""

    def __init__(self, context: Context, delivery: Delivery) -> None:
        self._context = context
        self._asked = delivery
        self._location: str | None = None

    def carry_out(self) -> DestinationFault | None:
        """What the destination does wrong is recorded, and told. Raises `StorageUnavailable`."""
        try:
            errand = self._prepare()
            if errand is not None:
                self._carry(errand)
        except DestinationFault as fault:
            self.fail(fault)
            return fault
        except IntegrityFailed as error:
            self.fail(DestinationFault(FaultKind.DENIED, error.detail))
        return None

    def _carry(self, errand: _Errand) -> None:
        opened = open_destination(self._context, errand.destination)
        try:
            self._location = opened.locate(self._asked.slot)
            self._bring(opened, errand)
        finally:
            with suppress(DestinationFault):
                opened.close()

    def _prepare(self) -> _Errand | None:
        """What there is to do; None for nothing, which is recorded where it is news. Raises
        `DestinationFault` or `IntegrityFailed`."""
        context = self._context
        with context.store.read() as reading:
            delivery = reading.deliveries.find(self._asked.workspace_id, self._asked.id)
            if delivery is None or delivery.token is None:
                return None
            self._asked = delivery
            key = _key(reading, delivery.workspace_id, delivery.key_id)
            rotation = _rotation(reading, delivery)
            destination = reading.destinations.find(delivery.workspace_id, delivery.destination_id)
        if destination is None or destination.credential is None:
            self._end(DeliveryAct.CANCEL, "The destination is no more.")
            return None
        is_restoring = delivery.state is DeliveryState.RESTORING
        if key is None or (not is_restoring and _is_dead(key, context.clock.now())):
            self._give_up()
            return None
        if not destination.is_proven:
            raise DestinationFault(
                FaultKind.DENIED, f"The destination {destination.name} is not proven."
            )
        token = context.strongbox.open(token_place(delivery), delivery.token).decode()
        errand = _Errand(key=key, rotation=rotation, destination=destination, wanted=token)
        if not is_restoring:
            return errand
        previous = context.strongbox.open(previous_place(delivery), delivery.previous).decode()
        if not self._works(previous, key):
            self._end(DeliveryAct.CANCEL, "The old key does not work any more either.")
            return None
        return replace(errand, wanted=previous, instead_of=token)

    def _works(self, value: str, key: Key) -> bool:
        """Whether it is the token of a key of this slot that may still be used."""
        token = self._ours(value)
        other = None if token is None else self._holder(token, key)
        return other is not None and not _is_dead(other, self._context.clock.now())

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
        if self._asked.state is DeliveryState.DELIVERED and not self._lose():
            return
        self._require_writable(held)
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
        is of it. Nor is a token written over whose key was made later, and is not in this database:
        that is an old copy. Raises `DestinationFault`."""
        if held is None or not held.value.strip():
            return
        token = self._ours(held.value)
        if token is None and not self._asked.is_begun:
            raise DestinationFault(
                FaultKind.CONFLICT,
                f"What lies at {self._location} is no token of this installation, and is not "
                "written over. Take it away, or give the destination another place.",
            )
        if token is not None and token.id > self._asked.key_id and not self._is_known(token):
            raise DestinationFault(
                FaultKind.CONFLICT,
                f"What lies at {self._location} is the token of a key that was made later, and is "
                "not known here: was an old backup restored? Take it away, or rotate the key.",
            )

    def _is_known(self, token: Token) -> bool:
        with self._context.store.read() as reading:
            return reading.keys.workspace_of(token.id) is not None

    def _judge(self, held: Held | None, errand: _Errand) -> Sighting:
        value = None if held is None else held.value
        if errand.instead_of is not None and value not in (None, errand.instead_of, errand.wanted):
            return Sighting.NEWER  # somebody has put something else there: it is not ours to undo
        token = self._ours(value)
        return judge_place(value, errand.wanted, is_newer=self._is_newer(token, errand))

    def _ours(self, value: str | None) -> Token | None:
        return None if value is None else parse_token(value.strip(), brand=self._context.brand)

    def _is_newer(self, token: Token | None, errand: _Errand) -> bool:
        """Whether it is the token of a key of this slot that was made later, and is not dead. What
        a rotation replaces is older, whatever the clock said when it was made."""
        key, rotation = errand.key, errand.rotation
        if token is None or token.id == key.id or self._asked.state is DeliveryState.RESTORING:
            return False
        if rotation is not None and token.id == rotation.old_key_id:
            return False
        other = self._holder(token, key)
        if other is None or (other.created_at, other.id) <= (key.created_at, key.id):
            return False
        return not _is_dead(other, self._context.clock.now())

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
        """What stands there, sealed, where it is the token of another key of the slot that works:
        after a rollback it is put back."""
        one, rotation = self._asked, errand.rotation
        if held is None or one.previous is not None or rotation is None or not rotation.is_open:
            return None
        token = self._ours(held.value)
        if token is None or token.id == one.key_id or not self._works(held.value, errand.key):
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
            rotation = _rotation(transaction, present)
            if rotation is not None and not rotation.is_open:
                following = following.kept(now)
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

    def _give_up(self) -> None:
        """Its key does not work any more: what was begun is taken back."""
        context = self._context
        with context.store.change() as transaction:
            present = self._present(transaction)
            if present is None:
                return
            now = context.clock.now()
            if present.rotation_id is not None and present.state is not DeliveryState.RESTORING:
                following = present.taken_back(now)
            else:
                following = present.ended(
                    DeliveryAct.CANCEL, "Its key does not work any more.", now
                )
            keep_delivery(context, transaction, DELIVERER, present, following, now)

    def fail(self, fault: DestinationFault) -> None:
        """Records a failure, with an entry where it is of another kind than the last one."""
        context = self._context
        with context.store.change() as transaction:
            present = self._present(transaction)
            if present is None:
                return
            now = context.clock.now()
            failed = present.failed(str(fault.kind), fault.detail, now)
            transaction.deliveries.replace(failed)
            if present.fault_kind != failed.fault_kind:
                note_delivery(context, transaction, DELIVERER, failed, "failing", now)


def _key(reading: Reading, workspace_id: UUID, id_: UUID) -> Key | None:
    """A damaged key is none that works."""
    with suppress(IntegrityFailed):
        return reading.keys.find(workspace_id, id_)
    return None


def _rotation(reading: Reading, delivery: Delivery) -> Rotation | None:
    """The rotation that a delivery belongs to; None also where its record is damaged."""
    if delivery.rotation_id is not None:
        with suppress(IntegrityFailed):
            return reading.rotations.find(delivery.workspace_id, delivery.rotation_id)
    return None


def _is_dead(key: Key, now: int) -> bool:
    return key.status(now) in (KeyStatus.REVOKED, KeyStatus.EXPIRED)


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
