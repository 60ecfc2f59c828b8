"""Keeping how far the activity log has been announced to channels.

It is sealed, so that nobody makes us leave out what happened. One that was changed is none: then
all that is no older than news is announced anew, each message with the id that it had.
"""

from sqlalchemy import select, text

from keyturn.storage.schema import announced
from keyturn.storage.sealed import MAC, Damage
from keyturn.storage.session import Session

_KEEP = text(
    "INSERT INTO announced (id, number, mac) VALUES (1, :number, :mac)"
    " ON CONFLICT (id) DO UPDATE SET number = excluded.number, mac = excluded.mac"
)


class AnnouncedRow:
    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self) -> int | None:
        """The number of the last entry that was announced, None where nothing says so."""
        row = (
            self._session.connection.execute(select(announced).where(announced.c.id == 1))
            .mappings()
            .first()
        )
        if row is None:
            return None
        cells = {name: cell for name, cell in row.items() if name != MAC}
        if not self._session.sealer.holds(announced.name, cells, row[MAC]):
            self._session.damage.append(Damage("announced", "1"))
            return None
        number: int = row["number"]
        return number

    def keep(self, number: int) -> None:
        seal = self._session.sealer.seal(announced.name, {"id": 1, "number": number})
        self._session.connection.execute(_KEEP, {"number": number, "mac": seal})
