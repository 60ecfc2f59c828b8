"""The file of signed heads: what the activity log was at a moment, kept outside the database."""

import threading
from collections.abc import Iterator
from pathlib import Path

from keyturn.domain.error import IntegrityFailed, StorageUnavailable
from keyturn.server.files import append_line
from keyturn.services.attest import Notary
from keyturn.services.context import Context


class HeadsFile:
    """Appends a signed line whenever the log has grown since the last one."""

    def __init__(self, path: Path, notary: Notary) -> None:
        self._path = path
        self._notary = notary
        self._last = 0
        self._turn = threading.Lock()

    def keep_up(self, context: Context) -> bool:
        """Signs the present head, if it is new; says whether it was."""
        with self._turn:
            try:
                with context.store.read() as transaction:
                    head = transaction.head()
            except (IntegrityFailed, StorageUnavailable):
                # A head that was tampered with is never signed; the readiness check tells of both.
                return False
            if head.activity_number <= self._last:
                return False
            append_line(self._path, self._notary.sign(head, context.clock.now()).line())
            self._last = head.activity_number
            return True


def read_lines(path: Path) -> Iterator[str]:
    """The lines of the file; none where there is no file yet. Raises `OSError`."""
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file
