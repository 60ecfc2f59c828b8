"""The witness: what one process can vouch for when it judges a rotation."""

from contextlib import suppress

from keyturn.domain.error import StorageUnavailable
from keyturn.domain.evidence import Observation
from keyturn.services.context import Context
from keyturn.services.meter import Meter
from keyturn.services.restore import RESTORED
from keyturn.services.steady import SteadyTime


class Witness:
    """One process's witness. Raises `StorageUnavailable` when it is made."""

    def __init__(self, context: Context, meter: Meter) -> None:
        self._meter = meter
        self.time = SteadyTime(context)
        self._until = self.time.watched_since
        self._complete_since = _restored_at(context)

    def observe(self) -> Observation:
        """What is known now: everything noted so far is kept first. Where that cannot be, what was
        known before."""
        with suppress(StorageUnavailable):
            self._until = max(self._until, self._meter.settle())
        return self.observed()

    def observed(self) -> Observation:
        """What was known when it was last asked, for who is inside a transaction."""
        until = min(self._until, self.time.now())
        return Observation(
            until=until,
            borne_out=min(until, self.time.borne_out()),
            watched_since=self.time.watched_since,
            complete_since=self._complete_since,
        )


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
