"""One process a database: locks that end with the process that holds them."""

import fcntl
import os
import threading
from pathlib import Path
from types import TracebackType

from keyturn.domain.error import InstallationFault

# Who asks whether a lock is held has it for a moment, which must turn nobody away.
_LOOK_SECONDS = 0.05
_REMEDY = "Stop it first; a database is served by one process."


class FileLock:
    """A file that one process holds while it serves, migrates or makes an installation. A second
    one is refused at once, with the first one's number. `what` is told to people."""

    def __init__(self, path: Path, what: Path, *, remedy: str = _REMEDY) -> None:
        self._path = path
        self._remedy = remedy
        self._what = what
        self._descriptor: int | None = None

    def __enter__(self) -> "FileLock":
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise InstallationFault(
                f"The folder {self._path.parent} cannot be used ({error.strerror}).",
                remedy="Check that it is a folder that this user may write.",
            ) from error
        if not _taken(descriptor):
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise InstallationFault(
                f"Another Keyturn (process {holder}) runs on {self._what}.",
                remedy=self._remedy,
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def is_held(self) -> bool:
        """Whether a process has it."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False


def _taken(descriptor: int) -> bool:
    for wait in (_LOOK_SECONDS, 0.0):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            threading.Event().wait(wait)
        else:
            return True
    return False
