"""A private file that is written for a while: nobody sees it before it is whole."""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from keyturn.domain.error import InstallationFault

PIECE_BYTES = 1024 * 1024
_TRIES = 10
# Somebody may have put a pipe there, which nobody reads.
_FLAGS = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK


@contextmanager
def private_draft(path: Path, *, replaces: bool) -> Iterator[IO[bytes]]:
    """A file (0600) that takes its place once the block has ended well, and on the disk.

    What a kill left of an earlier draft is written over; where `replaces` is False nothing else
    is. Raises `InstallationFault` where there is something in the way, and `OSError`.
    """
    path = path.absolute()
    if path.is_dir():
        raise InstallationFault(f"{path} is a folder.", remedy="Name a file.")
    if not replaces:
        _require_vacant(path)
    draft = path.with_name(f".{path.name}.draft")
    descriptor = _opened(draft)
    with os.fdopen(descriptor, "wb", buffering=PIECE_BYTES) as file:
        try:
            os.fchmod(descriptor, 0o600)
            file.truncate(0)
            yield file
            file.flush()
            os.fsync(descriptor)
            if replaces:
                draft.rename(path)
            else:
                _put(draft, path)
        except BaseException:
            draft.unlink(missing_ok=True)
            # What could not be written would be tried again when the file is closed.
            with contextlib.suppress(OSError):
                file.close()
            raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _opened(draft: Path) -> int:
    """The draft, held by us alone. One that a kill left is taken if it is ours and nothing else:
    after its last step it is a finished backup too, and another user's stays his."""
    for _ in range(_TRIES):
        try:
            descriptor = os.open(draft, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if not _is_own(draft.lstat()):
                draft.unlink(missing_ok=True)
                continue
            descriptor = os.open(draft, _FLAGS)
        try:
            _take(descriptor, draft)
            found = os.fstat(descriptor)
            if _is_own(found) and found.st_nlink == 1:
                return descriptor
            draft.unlink(missing_ok=True)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(draft))


def _is_own(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def _take(descriptor: int, draft: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_still_there = os.path.samestat(os.fstat(descriptor), draft.lstat())
    except (BlockingIOError, FileNotFoundError):
        is_still_there = False
    if not is_still_there:
        raise InstallationFault(
            "Another process writes this file now.", remedy="Wait for it, or name another file."
        )


def _put(draft: Path, path: Path) -> None:
    """Names the draft, over nothing: a link is refused where something is by now."""
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        _require_vacant(path)
        raise
    except OSError:  # a file system without links
        _require_vacant(path)
        draft.rename(path)
    else:
        draft.unlink()


def _require_vacant(path: Path) -> None:
    if os.path.lexists(path):
        raise InstallationFault(
            f"There is something at {path} already, which is not written over.",
            remedy="Name another file, or say --force.",
        )
