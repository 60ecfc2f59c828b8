"""A transaction as services see it: one attribute a noun."""

from keyturn.storage.activity import Activity
from keyturn.storage.idempotency import Idempotency
from keyturn.storage.installation import InstallationRow
from keyturn.storage.keys import Keys
from keyturn.storage.log import ChangeLog, Head, read_head
from keyturn.storage.operators import Operators
from keyturn.storage.requests import Requests
from keyturn.storage.session import Session
from keyturn.storage.slots import Slots
from keyturn.storage.usage import Usage
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
        self.activity = Activity(session)
        self.requests = Requests(session)
        self.usage = Usage(session)
        self.idempotency = Idempotency(session)

    def head(self) -> Head:
        """The end of the change log. Raises `IntegrityFailed` where it was tampered with."""
        return read_head(self.session)


class Writing(Reading):
    """A change: everything in it happens, with its entry in the log, or nothing does."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.log = ChangeLog(session)
