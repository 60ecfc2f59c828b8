"""A workspace's own folder below the operator's, entered step by step by its descriptors."""

import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from keyturn.destinations.contract import SECONDS, DestinationFault, FaultKind, Held

LARGEST_FILE_BYTES = 65_536

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK = ".lock"
_TURN_SECONDS = 0.05


class WorkspaceFolder:
    def __init__(self, folder: Path, workspace: str) -> None:
        self._folder = folder
        self._workspace = workspace

    def read(self, steps: tuple[str, ...]) -> Held | None:
        """What the file holds; None where it or a folder above it is not there."""
        try:
            return self._read(steps)
        except FileNotFoundError:
            return None

    def _read(self, steps: tuple[str, ...]) -> Held:
        with _told(), self._entered(steps[:-1], makes=False) as parent:
            # Without blocking: a pipe that somebody put there would never open.
            file = os.open(steps[-1], os.O_RDONLY | os.O_NONBLOCK | _NO_LINK, dir_fd=parent)
            try:
                before = os.fstat(file)
                if not stat.S_ISREG(before.st_mode):
                    raise _not_ours()
                content = os.read(file, LARGEST_FILE_BYTES + 1)
            finally:
                os.close(file)
        return Held(value=_value_of(content), version=_version(before))

    def replace(self, steps: tuple[str, ...], value: str) -> str:
        """Puts the value there, whole, and gives its version. For who holds the lock."""
        *above, name = steps
        draft = f".{name}.draft"
        with _told(), _nothing_taken_away(), self._entered(tuple(above), makes=True) as parent:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=parent)  # of a process that ended in the middle
            file = os.open(
                draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o600, dir_fd=parent
            )
            try:
                with os.fdopen(file, "wb") as opened:
                    opened.write(f"{value}\n".encode())
                    opened.flush()
                    os.fchmod(file, 0o600)
                    _make_later(file, _time_of(name, parent))
                    os.fsync(file)
                    version = _version(os.fstat(file))
                os.rename(draft, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft, dir_fd=parent)
                raise
            os.fsync(parent)
        return version

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among all that write in this workspace's folder."""
        with _told(), _nothing_taken_away(), self._entered((), makes=True) as parent:
            lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o600, dir_fd=parent)
        try:
            _await_lock(lock)
            yield
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def _entered(self, steps: tuple[str, ...], *, makes: bool) -> Iterator[int]:
        """The descriptor of the folder at these steps. Raises FileNotFoundError."""
        try:
            here = os.open(self._folder, _FOLDER_FLAGS)
        except FileNotFoundError:
            raise DestinationFault(
                FaultKind.MISSING, "The folder that files are written below is not there."
            ) from None
        try:
            for step in (self._workspace, *steps):
                below = _enter(step, here, makes=makes)
                os.close(here)
                here = below
            yield here
        finally:
            os.close(here)


def _enter(step: str, here: int, *, makes: bool) -> int:
    if makes:
        with contextlib.suppress(FileExistsError):
            os.mkdir(step, 0o700, dir_fd=here)
            os.fsync(here)
    return os.open(step, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=here)


def _await_lock(lock: int) -> None:
    for _ in range(int(SECONDS / _TURN_SECONDS)):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            threading.Event().wait(_TURN_SECONDS)
        else:
            return
    raise DestinationFault(FaultKind.TIMED_OUT, "Somebody else holds the folder's lock.")


def _time_of(name: str, parent: int) -> int:
    with contextlib.suppress(FileNotFoundError):
        return os.stat(name, dir_fd=parent, follow_symlinks=False).st_mtime_ns
    return 0


def _make_later(file: int, than: int) -> None:
    mine = os.fstat(file).st_mtime_ns
    if mine <= than:  # within one tick of the file system's clock
        os.utime(file, ns=(than + 1, than + 1))


def _version(found: os.stat_result) -> str:
    return f"{found.st_ino}.{found.st_mtime_ns}.{found.st_size}"


def _value_of(content: bytes) -> str:
    if len(content) <= LARGEST_FILE_BYTES:
        with contextlib.suppress(UnicodeDecodeError):
            return content.decode().removesuffix("\n")
    raise DestinationFault(FaultKind.NOT_UNDERSTOOD, "The file holds something else than a token.")


def _not_ours() -> DestinationFault:
    return DestinationFault(
        FaultKind.DENIED,
        "A link, a folder or a device stands where a file or folder of ours should; "
        "none is followed.",
    )


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise  # to who reads, for whom it is no fault
    except OSError as problem:
        raise _fault(problem.errno) from None


@contextlib.contextmanager
def _nothing_taken_away() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DestinationFault(
            FaultKind.CONFLICT, "Somebody has taken the folder away meanwhile."
        ) from None


def _fault(number: int | None) -> DestinationFault:
    if number in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR, errno.EISDIR, errno.ENXIO):
        return _not_ours()
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DestinationFault(
            FaultKind.DENIED, "The account that Keyturn runs as may not do this in the folder."
        )
    return DestinationFault(FaultKind.BROKEN, "The file system has failed.")
