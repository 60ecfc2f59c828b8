"""The delivery: one new token on its way into one destination, and, after a rollback, the old back.

`TRANSITIONS` is the whole machine; `may_write_over` says what an attempt may do to what it finds.
How it is carried out stands in `services/carry.py`.

1. A token is delivered when it was written, read back and found to be the same; never before.
2. A place is written only over what it was seen to hold, and only where that is nothing, the token
   that the rotation replaces, or one that does not work any more (`may_write_over`). What is
   somebody else's, or the only copy of something that works, stays, and the delivery waits.
3. Before the first write it is recorded that there will be one (`begun_at`), along with the old
   key's token if that stood there. So a rollback knows what to take back, whatever was killed.
4. The sealed tokens are erased when they are of no more use: when the delivery has ended, and
   where it belongs to a rotation no later than that ends.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

from keyturn.domain.error import DeliveryClosed
from keyturn.domain.instant import SECOND
from keyturn.domain.slot import SlotName

# How long after a failure it is tried again, in seconds; the last for ever after.
BACKOFF_SECONDS = (1, 2, 5, 10, 20, 40, 60, 120, 300)
# From so many failures in a row on, somebody is told.
TOLD_FROM = 3
# A delivered token of an open rotation is looked for again after this.
LOOK_AGAIN = 30 * SECOND
LOOKED_WITHIN = 4 * LOOK_AGAIN
# Nothing ends on a token that was not seen within this.
SEEN_WITHIN = 10 * SECOND
# Nothing is put off for longer than this: what is, a clock that was ahead has put off.
LONGEST_WAIT = (max(BACKOFF_SECONDS) + 60) * SECOND


class DeliveryState(StrEnum):
    WAITING = "waiting"
    DELIVERED = "delivered"
    RESTORING = "restoring"
    RESTORED = "restored"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"


OPEN_STATES = frozenset({DeliveryState.WAITING, DeliveryState.RESTORING})
ENDED_STATES = frozenset(
    {DeliveryState.RESTORED, DeliveryState.SUPERSEDED, DeliveryState.CANCELLED}
)


class DeliveryAct(StrEnum):
    DELIVER = "deliver"
    LOSE = "lose"
    SUPERSEDE = "supersede"
    TAKE_BACK = "take_back"
    RESTORE = "restore"
    CANCEL = "cancel"


TRANSITIONS: dict[tuple[DeliveryState, DeliveryAct], DeliveryState] = {
    (DeliveryState.WAITING, DeliveryAct.DELIVER): DeliveryState.DELIVERED,
    (DeliveryState.WAITING, DeliveryAct.TAKE_BACK): DeliveryState.RESTORING,
    (DeliveryState.WAITING, DeliveryAct.CANCEL): DeliveryState.CANCELLED,
    (DeliveryState.DELIVERED, DeliveryAct.LOSE): DeliveryState.WAITING,
    (DeliveryState.DELIVERED, DeliveryAct.TAKE_BACK): DeliveryState.RESTORING,
    (DeliveryState.DELIVERED, DeliveryAct.CANCEL): DeliveryState.CANCELLED,
    (DeliveryState.RESTORING, DeliveryAct.RESTORE): DeliveryState.RESTORED,
    (DeliveryState.RESTORING, DeliveryAct.SUPERSEDE): DeliveryState.SUPERSEDED,
    (DeliveryState.RESTORING, DeliveryAct.CANCEL): DeliveryState.CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The record. `token` and `previous` are sealed; `receipt` is the version that the place gave.
    `fault_kind` and `fault` tell the last failure, and are None after a success."""

    id: UUID
    workspace_id: UUID
    slot: SlotName
    key_id: UUID
    rotation_id: UUID | None
    destination_id: UUID
    destination: str
    state: DeliveryState
    token: bytes | None = field(repr=False)
    previous: bytes | None = field(repr=False)
    mark: str | None
    begun_at: int | None
    attempts: int
    failures: int
    next_at: int
    fault_kind: str | None
    fault: str | None
    location: str | None
    receipt: str | None
    delivered_at: int | None
    checked_at: int | None
    ended_at: int | None
    created_at: int
    created_by: str
    updated_at: int

    @property
    def is_open(self) -> bool:
        """Whether there is something to do."""
        return self.state in OPEN_STATES

    @property
    def is_failing(self) -> bool:
        """Whether somebody is to be told: so many times in a row, with something left to do."""
        return self.token is not None and self.failures >= TOLD_FROM

    @property
    def is_begun(self) -> bool:
        """Whether the place may have been written."""
        return self.begun_at is not None

    def fault_at(self, now: int) -> str | None:
        """Why it cannot be said now that the token is there, None where it can: it is looked for
        again and again, and what was seen long ago tells nothing."""
        if self.state is DeliveryState.WAITING:
            return self.fault or "it is on its way."
        if self.state is not DeliveryState.DELIVERED or self.token is None:
            return None
        if self.failures:
            return self.fault or "it could not be looked for."
        if now - (self.checked_at or 0) > LOOKED_WITHIN:
            return "it was not looked for of late."
        return None

    def after(self, act: DeliveryAct) -> DeliveryState:
        """The state that `act` leads to. Raises `DeliveryClosed` where there is no such step."""
        following = TRANSITIONS.get((self.state, act))
        if following is None:
            raise DeliveryClosed(f"This delivery is {self.state}: nothing is left to do.")
        return following

    def is_seen_at(self, now: int) -> bool:
        """Whether a delivered token was seen at its place just now; true where there is none."""
        if self.state is not DeliveryState.DELIVERED or self.token is None:
            return True
        return 0 <= now - (self.checked_at or 0) <= SEEN_WITHIN

    def looked_for(self, now: int) -> "Delivery":
        """To be looked for at once."""
        return replace(self, next_at=now, updated_at=now)

    def begun(self, mark: str, previous: bytes | None, location: str, now: int) -> "Delivery":
        """About to write for the first time, or again. What stood there at first is kept. `mark` is
        the nonce of the destination as it is: another address is another place."""
        return replace(
            self,
            mark=mark,
            begun_at=self.begun_at or now,
            previous=self.previous or previous,
            location=location,
            updated_at=now,
        )

    def delivered(self, receipt: str, location: str, now: int) -> "Delivery":
        """There, and read back."""
        return replace(
            self,
            state=self.after(DeliveryAct.DELIVER),
            # A rotation's token may have to be brought again, and the old one to be put back.
            token=self.token if self.rotation_id is not None else None,
            previous=self.previous if self.rotation_id is not None else None,
            begun_at=self.begun_at or now,
            attempts=self.attempts + 1,
            failures=0,
            next_at=now + LOOK_AGAIN,
            fault_kind=None,
            fault=None,
            location=location,
            receipt=receipt,
            delivered_at=self.delivered_at or now,
            checked_at=now,
            updated_at=now,
        )

    def arrived(self, receipt: str, location: str, now: int) -> "Delivery":
        """What is to be there was seen there: brought, put back, or still there."""
        if self.state is DeliveryState.WAITING:
            return self.delivered(receipt, location, now)
        if self.state is DeliveryState.RESTORING:
            return self.ended(DeliveryAct.RESTORE, None, now)
        return replace(
            self,
            failures=0,
            next_at=now + LOOK_AGAIN,
            fault_kind=None,
            fault=None,
            checked_at=now,
            updated_at=now,
        )

    def lost(self, now: int) -> "Delivery":
        """Not there any more: to be brought again."""
        return replace(
            self,
            state=self.after(DeliveryAct.LOSE),
            next_at=now,
            receipt=None,
            updated_at=now,
        )

    def redirected(self, now: int) -> "Delivery":
        """Its destination has another address or credential now: what is there is not known."""
        if self.state is not DeliveryState.DELIVERED or self.token is None:
            return self
        return self.lost(now)

    def failed(self, kind: str, fault: str, now: int) -> "Delivery":
        """Not done, and when it is tried again."""
        wait = BACKOFF_SECONDS[min(self.failures, len(BACKOFF_SECONDS) - 1)]
        return replace(
            self,
            attempts=self.attempts + 1,
            failures=self.failures + 1,
            next_at=now + wait * SECOND,
            fault_kind=kind,
            fault=fault,
            updated_at=now,
        )

    def require_open(self) -> None:
        """Raises `DeliveryClosed` where there is nothing to do."""
        if not self.is_open:
            raise DeliveryClosed(f"This delivery is {self.state}: nothing is left to do.")

    def hurried(self, now: int) -> "Delivery":
        """Tried at once. Raises `DeliveryClosed`."""
        self.require_open()
        return replace(self, next_at=now, updated_at=now)

    def taken_back(self, now: int) -> "Delivery":
        """The key is not to be used after all. What was never begun is cancelled; else the old
        token is put back, where it is known."""
        if self.state not in (DeliveryState.WAITING, DeliveryState.DELIVERED):
            return self
        if self.begun_at is None:
            return self.ended(DeliveryAct.CANCEL, None, now)
        if self.previous is None:
            fault = "The old token was not there before, so it cannot be put back."
            return self.ended(DeliveryAct.CANCEL, fault, now)
        return replace(
            self,
            state=self.after(DeliveryAct.TAKE_BACK),
            failures=0,
            next_at=now,
            fault_kind=None,
            fault=None,
            updated_at=now,
        )

    def given_up(self, fault: str, now: int) -> "Delivery":
        """Cancelled, where it has not ended already."""
        if (self.state, DeliveryAct.CANCEL) not in TRANSITIONS:
            return self
        return self.ended(DeliveryAct.CANCEL, fault, now)

    def kept(self, now: int) -> "Delivery":
        """Its rotation has ended and the key lives on: what lay there before is of no more use."""
        token = None if self.state is DeliveryState.DELIVERED else self.token
        if self.previous is None and token is self.token:
            return self
        return replace(self, previous=None, token=token, updated_at=now)

    def ended(self, act: DeliveryAct, fault: str | None, now: int) -> "Delivery":
        """Over, with nothing secret left in it. `fault` is what a person should know."""
        return replace(
            self,
            state=self.after(act),
            token=None,
            previous=None,
            failures=0,
            fault_kind=None,
            fault=fault,
            ended_at=now,
            updated_at=now,
        )


class Tenant(StrEnum):
    """Whose value lies at a place."""

    NOBODY = "nobody"  # there is none
    OWN = "own"  # the token that is being delivered, in another spelling
    REPLACED = "replaced"  # the token of the key that the rotation replaces
    DEAD = "dead"  # that of a key of this slot that does not work any more
    STRANGER = "stranger"  # no token of this installation's brand
    OTHER = "other"  # any other token: of a key that works, of another slot, or not known here


def may_write_over(tenant: Tenant, *, is_begun_here: bool) -> bool:
    """Rule 2. `is_begun_here`: this delivery may have written there before, and a place that lies
    may have made anything of that."""
    match tenant:
        case Tenant.NOBODY | Tenant.OWN | Tenant.REPLACED | Tenant.DEAD:
            return True
        case Tenant.STRANGER:
            return is_begun_here
        case Tenant.OTHER:
            return False
