"""Locks of a PostgreSQL database that end with the process that holds them.

`SERVING` is shared by every node that serves, and held alone by whoever makes, migrates or restores
the installation. `LEADING` is one node's, which does what must not be done twice.
"""

import psycopg

from keyturn.domain.error import StorageUnavailable
from keyturn.storage.postgresql_connection import Connection, Patience, connect

SERVING = 0x6B657974  # "keyt"
LEADING = 0x6B65796C  # "keyl"

# So that the server, too, finds out when a holder's machine is gone. By its own defaults that may
# take it hours, in which nobody else would have the lock.
_OPTIONS = "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"


class DatabaseLock:
    """One of the locks. The server gives it back by itself when the connection ends, so a crash
    leaves nothing."""

    def __init__(self, url: str, number: int = SERVING) -> None:
        self._url = url
        self._number = number
        self._patience = Patience(silence_seconds=4.0)
        self._connection: Connection | None = None

    def hold(self) -> bool:
        """Takes the lock alone, or makes sure of what is held. False where another has it."""
        return self._hold("SELECT pg_try_advisory_lock(%s)")

    def hold_shared(self) -> bool:
        """As `hold`, beside others who share it. False where somebody has it alone."""
        return self._hold("SELECT pg_try_advisory_lock_shared(%s)")

    def share(self) -> bool:
        """Whoever holds the lock alone lets others share it, and nobody in between. False where it
        is held no more."""
        if self._connection is None or self._connection.closed:
            return False
        self._ask("SELECT pg_try_advisory_lock_shared(%s)")
        return self._ask("SELECT pg_advisory_unlock(%s)") is True

    def lease_seconds(self) -> float:
        """For how long yet a node may go on verifying that was cut off from the database, and so
        from this lock. To be asked by whoever holds it."""
        if self._ask("SELECT to_regclass('nodes') IS NOT NULL AND %s > 0") is not True:
            return 0.0
        left = self._ask(
            "SELECT max(lease_until) - (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
            " FROM nodes WHERE left_at IS NULL AND %s > 0"
        )
        return max(0.0, left / 1_000_000) if isinstance(left, int) else 0.0

    def _ask(self, statement: str) -> object:
        """What a statement about the lock's number gives, where the lock is held."""
        if self._connection is None:
            return None
        try:
            row = self._connection.execute(statement.encode(), (self._number,)).fetchone()
        except psycopg.Error as error:
            self.release()
            raise StorageUnavailable("The database cannot be reached; try again.") from error
        return None if row is None else row[0]

    def _hold(self, statement: str) -> bool:
        try:
            if self._connection is not None and not self._connection.closed:
                self._connection.execute("SELECT 1")
                return True
            connection = connect(self._url, self._patience, "keyturn lock", _OPTIONS)
            row = connection.execute(statement.encode(), (self._number,)).fetchone()
        except psycopg.Error as error:
            self.release()
            raise StorageUnavailable("The database cannot be reached; try again.") from error
        if row is None or not row[0]:
            connection.close()
            return False
        self._connection = connection
        return True

    def is_held(self) -> bool:
        """Whether any process has the lock, alone or shared. Raises `StorageUnavailable`."""
        query = (
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND classid = 0 AND objid = %s AND objsubid = 1 AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database()))"
        )
        try:
            with connect(self._url, self._patience, "keyturn lock") as connection:
                row = connection.execute(query, (self._number,)).fetchone()
        except psycopg.Error as error:
            raise StorageUnavailable("The database cannot be reached; try again.") from error
        return row is not None and bool(row[0])

    def release(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
