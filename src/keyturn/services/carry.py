"""Carrying one delivery: one attempt at bringing a token to its place.

1. An attempt looks at the place; records that it will write there, and what stood there; writes
   over just that; reads back; compares; records. It may be killed between any two of these, and the
   next attempt goes on from what it finds: a token that stands there is not written again.
2. It asks the record anew before it writes and before it says done: a rollback, or another address
   of the destination, that came between is found.
3. What may be written over says `domain/delivery.py`, rule 2. Whose token lies at a place is told
   by its secret, not by what it says of itself.
4. What is put back is written even where it still stands, if a write of the new token may be under
   way that nobody has heard the end of: that write then finds another version than it expects.
"""

import hmac
from contextlib import suppress
from dataclasses import dataclass, field, replace
from uuid import UUID

from keyturn.destinations.contract import Destination as Opened
from keyturn.destinations.contract import DestinationFault, FaultKind, Held
from keyturn.domain.delivery import (
    TOLD_FROM,
    Delivery,
    DeliveryAct,
    DeliveryState,
    Tenant,
    may_write_over,
)
from keyturn.domain.destination import Destination
from keyturn.domain.error import IntegrityFailed
from keyturn.domain.instant import DAY
from keyturn.domain.key import Key, KeyState
from keyturn.domain.rotation import Rotation
from keyturn.domain.token import Token, parse_token
from keyturn.services.connect import open_destination
from keyturn.services.context import Context
from keyturn.services.dispatch import keep_delivery, note_delivery, previous_place, token_place
from keyturn.services.journal import DELIVERER
from keyturn.storage.transaction import Reading, Writing


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
        self._mark: str | None = None

    def carry_out(self) -> DestinationFault | None:
        """What the destination does wrong is recorded, and told. Raises `StorageUnavailable`."""
        try:
            errand = self._prepare()
            if errand is not None:
                self._mark = errand.destination.nonce
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
        if key is None or (not is_restoring and is_dead(key, context.clock.now())):
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

    # --- at the place ----------------------------------------------------------------------------

    def _bring(self, opened: Opened, errand: _Errand) -> None:
        slot = self._asked.slot
        held = opened.read(slot)
        if held is not None and held.value == errand.wanted and not self._may_be_under_way:
            self._arrive(held.version)
            return
        if errand.instead_of is not None and not _is_ours_to_undo(held, errand):
            self._end(DeliveryAct.SUPERSEDE, "Something else is there already.")
            return
        if self._asked.state is DeliveryState.DELIVERED and not self._lose():
            return
        if errand.instead_of is None:
            self._require_writable(held, errand)
        if not self._begin(held, errand):
            return
        opened.write(slot, errand.wanted, None if held is None else held.version)
        again = opened.read(slot)
        if again is None or not hmac.compare_digest(again.value.encode(), errand.wanted.encode()):
            raise DestinationFault(
                FaultKind.BROKEN, "It took the token, and what it gave back is another one."
            )
        self._arrive(again.version)

    @property
    def _may_be_under_way(self) -> bool:
        """Whether a write of the new token was begun of which nobody knows the end."""
        one = self._asked
        return one.state is DeliveryState.RESTORING and one.delivered_at is None

    def _require_writable(self, held: Held | None, errand: _Errand) -> None:
        """Raises `DestinationFault` where what is there is not to be written over."""
        tenant = self._tenant(held, errand)
        is_begun_here = self._asked.is_begun and self._asked.mark == errand.destination.nonce
        if may_write_over(tenant, is_begun_here=is_begun_here):
            return
        what = {
            Tenant.STRANGER: "is no token of this installation",
            Tenant.OTHER: "is a token that may be in use: of another key that works, of another "
            "slot, or of a key that is not known here (was an old backup restored?)",
        }[tenant]
        raise DestinationFault(
            FaultKind.CONFLICT,
            f"What lies at {self._location} {what}, and is not written over. Revoke its key, take "
            "it away, or give the destination another place.",
        )

    def _tenant(self, held: Held | None, errand: _Errand) -> Tenant:
        if held is None or not held.value.strip():
            return Tenant.NOBODY
        token = parse_token(held.value.strip())
        if token is None:
            return Tenant.STRANGER
        holder = self._holder(token, errand.key)
        if holder is None:
            return Tenant.OTHER
        if holder.id == errand.key.id:
            return Tenant.OWN
        if is_dead(holder, self._context.clock.now()):
            return Tenant.DEAD
        is_replaced = errand.rotation is not None and holder.id == errand.rotation.old_key_id
        return Tenant.REPLACED if is_replaced else Tenant.OTHER

    def _works(self, value: str, key: Key) -> bool:
        """Whether it is the token of a key of this slot that may still be used."""
        token = parse_token(value.strip())
        other = None if token is None else self._holder(token, key)
        return other is not None and not is_dead(other, self._context.clock.now())

    def _holder(self, token: Token, key: Key) -> Key | None:
        """The key of this slot whose token it is."""
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
        """The delivery, where it is still what this attempt is about, and its destination where it
        was."""
        one = self._asked
        present = transaction.deliveries.find(one.workspace_id, one.id)
        if present is None or present.state is not one.state or present.token is None:
            return None
        if self._mark is not None:
            destination = transaction.destinations.find(one.workspace_id, one.destination_id)
            if destination is None or destination.nonce != self._mark:
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
            mark = errand.destination.nonce
            begun = present.begun(mark, previous, self._location or "", now)
            transaction.deliveries.replace(begun)
        self._asked = begun
        return True

    def _previous(self, held: Held | None, errand: _Errand) -> bytes | None:
        """What stands there, sealed, where it is the token that the rotation replaces: after a
        rollback it is put back."""
        one, rotation = self._asked, errand.rotation
        if held is None or one.previous is not None or rotation is None or not rotation.is_open:
            return None
        if self._tenant(held, errand) is not Tenant.REPLACED:
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
        """Records a failure, with an entry once it is more than a moment's."""
        context = self._context
        with context.store.change() as transaction:
            present = self._present(transaction)
            if present is None:
                return
            now = context.clock.now()
            failed = present.failed(str(fault.kind), fault.detail, now)
            transaction.deliveries.replace(failed)
            if failed.failures == TOLD_FROM:
                note_delivery(context, transaction, DELIVERER, failed, "failing", now)


def _is_ours_to_undo(held: Held | None, errand: _Errand) -> bool:
    """Whether what is there is what this delivery has brought, or what it brings back; nothing is
    as good."""
    return held is None or held.value in (errand.instead_of, errand.wanted)


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


def is_dead(key: Key, now: int) -> bool:
    """Whether a key is revoked, or has expired for good: a clock that is ahead for a moment, or an
    hour, lets no token be erased or written over."""
    if key.state is KeyState.REVOKED:
        return True
    return key.expires_at is not None and key.expires_at + DAY <= now
