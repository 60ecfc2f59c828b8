"""A transaction as services see it: one attribute a noun."""

from collections.abc import Collection, Sequence

from sqlalchemy import select, tuple_

from keyturn.storage.activity import Activity
from keyturn.storage.announced import AnnouncedRow
from keyturn.storage.channels import Channels
from keyturn.storage.deliveries import Deliveries
from keyturn.storage.destinations import Destinations
from keyturn.storage.findings import Findings
from keyturn.storage.heartbeat import HeartbeatRow
from keyturn.storage.idempotency import Idempotency
from keyturn.storage.incidents import Incidents
from keyturn.storage.installation import InstallationRow
from keyturn.storage.keys import Keys
from keyturn.storage.log import ChangeLog, Head, read_head
from keyturn.storage.messages import Messages
from keyturn.storage.operators import Operators
from keyturn.storage.peppers import PepperedRows
from keyturn.storage.posture_waivers import PostureWaivers
from keyturn.storage.records import SEALED, part_slot_ref
from keyturn.storage.requests import Requests
from keyturn.storage.rotations import Rotations
from keyturn.storage.session import Session
from keyturn.storage.slots import Slots
from keyturn.storage.traffic import Traffic
from keyturn.storage.usage import Usage
from keyturn.storage.uses import Uses
from keyturn.storage.workspaces import Workspaces


class Reading:
    """One consistent view of everything."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.installation = InstallationRow(session)
        self.workspaces = Workspaces(session)
        self.operators = Operators(session)
        self.slots = Slots(session)
        self.keys = Keys(session)
        self.peppered = PepperedRows(session)
        self.activity = Activity(session)
        self.requests = Requests(session)
        self.traffic = Traffic(session)
        self.usage = Usage(session)
        self.uses = Uses(session)
        self.rotations = Rotations(session)
        self.destinations = Destinations(session)
        self.deliveries = Deliveries(session)
        self.findings = Findings(session)
        self.incidents = Incidents(session)
        self.channels = Channels(session)
        self.posture_waivers = PostureWaivers(session)
        self.messages = Messages(session)
        self.announced = AnnouncedRow(session)
        self.idempotency = Idempotency(session)
        self.heartbeat = HeartbeatRow(session)

    def head(self) -> Head:
        """The end of the change log. Raises `IntegrityFailed` where it was tampered with."""
        return read_head(self.session)

    def rows(
        self, kind: str, *, after: tuple[str, ...] | None, limit: int
    ) -> Sequence[tuple[str, ...]]:
        """Reads the next sealed rows of a kind and gives their identities; what is damaged is
        reported."""
        table = SEALED[kind]
        width = len(table.identity)
        names = [table.table.c[name] for name in table.identity]
        query = select(*names, *table.selection()).order_by(*names).limit(limit)
        if after is not None:
            query = query.where(tuple_(*names) > tuple_(*after))
        found = []
        for row in self.session.connection.execute(query):
            found.append(tuple(map(str, row[:width])))
            cells = tuple(row[width:])
            ref = table.spell_ref(dict(zip(table.columns, cells, strict=False)))
            self.session.open(table, cells, lambda cells: cells, ref)
        return found

    def present(self, kind: str, refs: Collection[str]) -> set[str]:
        """Which of the objects of a kind have a row."""
        table = SEALED[kind]
        if not refs:
            return set()
        names = [table.table.c[name] for name in table.identity]
        query = select(table.ref).select_from(table.table)
        if len(names) == 1:
            query = query.where(names[0].in_(sorted(refs)))
        else:
            parted = [parted for ref in sorted(refs) if (parted := part_slot_ref(ref))]
            query = query.where(tuple_(*names).in_(parted))
        return {str(ref) for ref in self.session.connection.execute(query).scalars()}


class Writing(Reading):
    """A change: everything in it happens, with its entry in the log, or nothing does."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.log = ChangeLog(session)
