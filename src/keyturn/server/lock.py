"""One process a database: locks that end with the process that holds them."""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from keyturn.domain.error import InstallationFault


class FolderLock:
    """Held while a server runs or an installation is made. A second process is refused at once,
    with the first one's number."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._descriptor: int | None = None

    def __enter__(self) -> "FolderLock":
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise InstallationFault(
                f"The data folder {self._path.parent} cannot be used ({error.strerror}).",
                remedy="Check that it is a folder that this user may write.",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise InstallationFault(
                f"Another Keyturn (process {holder}) runs on {self._path.parent}.",
                remedy="Stop it first; SQLite serves one process. More need PostgreSQL.",
            ) from None
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
