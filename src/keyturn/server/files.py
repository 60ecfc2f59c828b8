"""Private files and folders: whole or not there, and for their owner alone."""

import contextlib
import errno
import os
from pathlib import Path


def make_private_folder(path: Path) -> None:
    """Makes the folder (0700) with its parents; one that is there is left as it is."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o700)


def write_private(path: Path, text: str, *, owner: tuple[int, int] | None = None) -> None:
    """Writes the file (0600) so that a crash leaves the old one or the new one, never a part.

    `owner`, a user and a group by number, is for a file in whose place another user writes it: an
    administrator must not take it from the server.
    """
    path = path.absolute()
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    draft = path.with_name(f".{path.name}.draft")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if owner is not None and owner[0] != os.fstat(descriptor).st_uid:
                os.fchown(descriptor, *owner)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def append_line(path: Path, line: str) -> None:
    """Adds a line to a private file, and waits until it is on the disk.

    A line that was torn off by a crash stays a line of its own.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size == 0 and os.geteuid() == 0:
            # An administrator who is the first to sign must not take the file from the server.
            folder = path.absolute().parent.stat()
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
        is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        rest = (("\n" if is_torn else "") + line + "\n").encode()
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
