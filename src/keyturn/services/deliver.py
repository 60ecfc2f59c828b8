"""Delivering: what lies in the outbox is carried to its place, for as long as it takes.

1. Of one place at most one delivery is open, the oldest; one slow destination holds up no other,
   nor one workspace another. What failed for the whole destination is not tried again at once for
   the next slot.
2. What is delivered is looked for again while its rotation is open: a place that loses it, or
   cannot be asked, makes the rotation wait. Where an end of the rotation has missed a delivery, it
   is settled here.
3. How one is carried stands in `carry.py`.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Protocol
from uuid import UUID

from keyturn.destinations.contract import DestinationFault, FaultKind
from keyturn.domain.delivery import (
    TOLD_FROM,
    Delivery,
)
from keyturn.domain.error import KeyturnError
from keyturn.domain.finding import Cause, FindingKind, Severity, SubjectType
from keyturn.services.carry import Attempt
from keyturn.services.context import Context
from keyturn.services.find import reconcile

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
