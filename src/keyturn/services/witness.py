"""The witness: what one process can vouch for when it judges a rotation.

Where several nodes serve a database, what each of them saw counts: nothing is known of after the
moment up to which all have kept every use, and where one has vanished, quiet has to be watched
anew, as after a restart.
"""

import logging
import threading
from contextlib import suppress

from keyturn.domain.error import StorageUnavailable
from keyturn.domain.evidence import Observation
from keyturn.domain.instant import SECOND
from keyturn.domain.workspace import MOST_GRACE_SECONDS
from keyturn.services.context import Context
from keyturn.services.fellows import Fellows
from keyturn.services.meter import Meter
from keyturn.services.restore import RESTORED
from keyturn.services.steady import SteadyTime
from keyturn.storage.heartbeat import Heartbeat

BEAT_SECONDS = 20.0
# A break no longer than this is a restart, in which nobody's turn to call is missed for good.
LONGEST_BREAK = 60 * SECOND
LONGEST_LAPSE_SECONDS = 10.0

_log = logging.getLogger("keyturn.witness")


class Witness:
    """One process's witness. Raises `StorageUnavailable` when it is made."""

    def __init__(self, context: Context, meter: Meter, fellows: Fellows | None = None) -> None:
        self._meter = meter
        self._fellows = fellows
        self.time = SteadyTime(context)
        self._began = self._until = self.time.watched_since
        self._complete_since = _restored_at(context)
        self._context = context
        self._lock = threading.Lock()
        self._looked_at = context.clock.elapsed()
        self._watched_since = self._began
        self._unbroken_since = _unbroken_since(context, self.time.now())
        self._beaten_at: float | None = None

    def observe(self) -> Observation:
        """What is known now: everything noted so far is kept first. Where that cannot be, what was
        known before."""
        with suppress(StorageUnavailable):
            # In this order: a fellow that begins in between sees nothing of before.
            settled = self._meter.settle()
            settled = min(settled, self._ask_fellows(settled))
            self._look(self._context.clock.elapsed())
            self._until = max(self._until, min(settled, self.time.now()))
        return self.observed()

    def _look(self, elapsed: float) -> None:
        """Notes that everything is kept now. Where that was long ago, nobody could call meanwhile,
        or nobody looked on: whoever was silent then was not so by choice."""
        with self._lock:
            missed = elapsed - self._looked_at
            self._looked_at = elapsed
            if missed > LONGEST_LAPSE_SECONDS:
                self._watched_since = self.time.now()
            if missed * SECOND > LONGEST_BREAK:
                self._unbroken_since = self.time.now()

    def _ask_fellows(self, own: int) -> int:
        """Up to when the other nodes have kept every use."""
        if self._fellows is None:
            return own
        seen = self._fellows.look()
        if seen.vanished:
            _log.warning(
                "vanished without a goodbye: %s; quiet is watched anew", ", ".join(seen.vanished)
            )
        if seen.vanished or self._may_be_in_grace(seen.late_micros):
            with self._lock:
                self._watched_since = self.time.now()
        return own if seen.settled_until is None else seen.settled_until

    def _may_be_in_grace(self, late_micros: int | None) -> bool:
        """Whether a node that vanished may yet let somebody in whom nobody else knows of."""
        if late_micros is None or late_micros > MOST_GRACE_SECONDS * SECOND:
            return False
        with self._context.store.read() as transaction:
            return late_micros <= transaction.workspaces.longest_grace() * SECOND

    def observed(self) -> Observation:
        """What was known when it was last asked, for who is inside a transaction."""
        now = self.time.now()
        until = min(self._until, now)
        watched_since = max(self.time.watched_since, self._watched_since)
        return Observation(
            now=now,
            until=until,
            borne_out=min(until, self.time.borne_out()),
            watched_since=watched_since,
            unbroken_since=self._unbroken(self.time.watched_since),
            complete_since=self._complete_since,
        )

    def beat(self) -> None:
        """Writes down, once in a while, that somebody looks on. Raises `StorageUnavailable`."""
        elapsed = self._context.clock.elapsed()
        if self._beaten_at is not None and elapsed - self._beaten_at < BEAT_SECONDS:
            return
        unbroken_since = self._unbroken(self.time.watched_since)
        beat = Heartbeat(seen_at=self.time.now(), unbroken_since=unbroken_since)
        with self._context.store.record() as transaction:
            transaction.heartbeat.keep(beat)
        self._beaten_at = elapsed

    def _unbroken(self, watched_since: int) -> int:
        """A clock that was set is a break: what it says of before is not to be compared."""
        if watched_since != self._began:
            self._unbroken_since = max(self._unbroken_since, watched_since)
        return self._unbroken_since


def _unbroken_since(context: Context, now: int) -> int:
    """The end of the last break in which nobody looked on for longer than a moment."""
    with context.store.read() as transaction:
        last = transaction.heartbeat.find()
    if last is None or not 0 <= now - last.seen_at <= LONGEST_BREAK:
        return now
    return min(last.unbroken_since, now)


def _restored_at(context: Context) -> int | None:
    """When the database was last put back from a backup: what was recorded since that is lost."""
    with context.store.read() as transaction:
        installation = transaction.installation.find()
        if installation is None:
            return None
        entry = transaction.activity.last_of_installation(
            "installation", str(installation.installation_id), RESTORED
        )
        return None if entry is None else entry.created_at
