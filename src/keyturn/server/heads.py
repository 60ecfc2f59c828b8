"""The file of signed heads: what the activity log was at a moment, kept outside the database."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from keyturn.domain.error import IntegrityFailed, StorageUnavailable
from keyturn.server.files import append_line
from keyturn.services.attest import Notary
from keyturn.services.context import Context
from keyturn.storage.memory import Memory, Place

_log = logging.getLogger("keyturn.heads")


class HeadsFile:
    """Appends a signed line whenever the log has grown since the last one."""

    def __init__(self, path: Path, notary: Notary) -> None:
        self._path = path
        self._notary = notary
        self._last = 0
        self._told: str | None = None
        self._turn = threading.Lock()

    def recall(self, memory: Memory) -> None:
        """Tells the memory of the furthest head in the file, so that no shorter log is written on,
        and does not sign that head again. Raises `OSError`."""
        heads = [head for line in read_lines(self._path) if (head := self._notary.read(line))]
        if heads:
            newest = max(heads, key=lambda head: head.number)
            memory.expect(Place(newest.number, bytes.fromhex(newest.hash), newest.position))
            self._last = newest.number

    def keep_up(self, context: Context) -> bool:
        """Signs the present head, if it is new; says whether it was. Raises `OSError`."""
        try:
            is_new = self.sign(context)
        except StorageUnavailable:
            return False
        except IntegrityFailed as error:
            # A head that was tampered with is never signed; the readiness check tells of it.
            if error.detail != self._told:
                _log.critical("%s", error.detail)
            self._told = error.detail
            return False
        self._told = None
        return is_new

    def sign(self, context: Context) -> bool:
        """As `keep_up`, for one who must know why it was not signed. Raises `StorageUnavailable`,
        `IntegrityFailed` and `OSError`.

        Another process may append meanwhile: each line is written at once, at the end, and of a
        head that both signed there are two.
        """
        with self._turn:
            with context.store.read() as transaction:
                head = transaction.head()
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
