"""Whether a PostgreSQL keeps what it has confirmed: by what its own settings say.

A revocation that was answered must outlive a power cut, and where a standby takes over, that too.
"""

from dataclasses import dataclass

import psycopg

from keyturn.domain.error import StorageUnavailable
from keyturn.storage.postgresql_connection import LIVENESS, Connection

# A base backup that is being taken streams as well, and never takes over.
_ASKED = """
    SELECT current_setting('fsync')::boolean, current_setting('full_page_writes')::boolean,
        current_setting('synchronous_standby_names') <> '',
        (SELECT count(*) FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Durability:
    """`unsafe`: the settings that are off and have to be on. `standbys`: how many servers stream
    from this one; `is_synchronous`: whether a commit waits for one of them."""

    unsafe: tuple[str, ...]
    standbys: int
    is_synchronous: bool


def ask_durability(url: str) -> Durability:
    """Asks on a connection with no settings of ours, so that what is told is the server's own.
    Raises `StorageUnavailable`."""
    try:
        with Connection.connect(
            url, autocommit=True, application_name="keyturn doctor", **LIVENESS
        ) as connection:
            row = connection.execute(_ASKED).fetchone()
    except psycopg.Error as error:
        raise StorageUnavailable("The database cannot be reached; try again.") from error
    fsync, full_page_writes, is_synchronous, standbys = row or (False, False, False, 0)
    is_on = {"fsync": fsync, "full_page_writes": full_page_writes}
    return Durability(
        unsafe=tuple(name for name, value in is_on.items() if not value),
        standbys=standbys,
        is_synchronous=is_synchronous,
    )
