"""How the token reaches the command: in a variable of its environment, or in a file that a variable
names. Never in its arguments, which everybody on the machine can list.

A file is private (0600) and replaced as a whole: who reads it meets the old token or the new one.
A private folder is locked while it is in use. One that is not belonged to somebody who was killed:
the next one that makes such a folder removes it, with the token in it.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from keyturn.cli.ending import CommandFailed
from keyturn.client.configuration import API_KEY, API_KEY_FILE
from keyturn.domain.token import Token

_NAME = "token"
_FOLDERS = "keyturn-run-"


class Injection(Protocol):
    """A way to the command."""

    def put(self, token: Token) -> None:
        """Puts the token in its place. Raises `OSError`."""
        ...

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """What the command is started with."""
        ...

    def close(self) -> None: ...


class InVariable:
    """In the variable of this name."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._token: Token | None = None

    def put(self, token: Token) -> None:
        self._token = token

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        if self._token is None:
            raise RuntimeError("a token is put in its place before anything is started")
        given = dict(inherited)
        if self._name == API_KEY:
            given.pop(API_KEY_FILE, None)  # of both, a client of Keyturn would take neither
        return given | {self._name: self._token.reveal()}

    def close(self) -> None:
        pass


class InFile:
    """In the file at `path`, which stays; without one in a private folder, which goes with us."""

    def __init__(self, path: Path | None, environ: Mapping[str, str]) -> None:
        self._folder: Path | None = None
        self._lock = -1
        if path is None:
            self._folder = folder = _private_folder(environ)
            self._lock = os.open(folder, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._path = folder / _NAME
        else:
            self._path = _checked(path)

    def put(self, token: Token) -> None:
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}.draft")
        draft.unlink(missing_ok=True)  # of one that was killed
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(token.reveal() + "\n")
                file.flush()
                os.fsync(descriptor)
            draft.replace(self._path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        given = dict(inherited)
        given.pop(API_KEY, None)
        return given | {API_KEY_FILE: str(self._path)}

    def close(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)


def _checked(path: Path) -> Path:
    whole = path.absolute()
    if whole.is_dir() or not whole.parent.is_dir():
        why = "is a folder" if whole.is_dir() else "is in a folder that is not there"
        raise CommandFailed(
            f"The token cannot be written to {path}: it {why}.",
            remedy="Name a file in a folder of your own with --file.",
        )
    return whole


def _private_folder(environ: Mapping[str, str]) -> Path:
    """In memory where the system has a place for that (XDG_RUNTIME_DIR), else among temporary
    files; for this user alone (0700)."""
    runtime = environ.get("XDG_RUNTIME_DIR")
    has_runtime = runtime and os.access(runtime, os.W_OK | os.X_OK)
    within = Path(runtime if runtime and has_runtime else tempfile.gettempdir())
    for folder in within.glob(f"{_FOLDERS}*"):
        with contextlib.suppress(OSError):
            _remove_left(folder)
    return Path(tempfile.mkdtemp(prefix=_FOLDERS, dir=within))


def _remove_left(folder: Path) -> None:
    """Removes a folder of ours that nobody has locked. One without a token in it may be of somebody
    who is about to lock it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_uid == os.getuid() and (folder / _NAME).is_file():
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
