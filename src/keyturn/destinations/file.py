"""Files below a folder of the operator's: what a program on the same machine reads its token from.

1. A file is `<folder>/<workspace>/<path>`: the value and one newline. Folders are 0700, files 0600.
2. No symbolic link below the folder is followed, whoever made it: each step is opened for itself.
3. A value is written beside the file, made durable, and then takes the file's name: nobody reads
   half of it, whenever the power goes.
4. Files have no compare and set. All of ours write under one lock a workspace, and the version is
   compared right before the rename; who writes past the lock in that moment is overwritten.
5. A version is the file's inode, time and size: no word of the value. A write gives its file a
   later time than the one that it replaces, so that no two of its versions are alike.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from keyturn.destinations.contract import Held, Opening
from keyturn.destinations.folder import WorkspaceFolder
from keyturn.destinations.json_server import conflict
from keyturn.destinations.members import Members
from keyturn.destinations.place import place_of
from keyturn.domain.slot import SlotName

DEFAULT_PATH = "{slot}.token"

# No name begins with a dot: those are our drafts and the lock.
_STEP = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}"
_PATH = re.compile(rf"{_STEP}(/{_STEP}){{0,7}}", re.ASCII)


class FileKind:
    name = "file"
    about = "A file on the machine that Keyturn runs on"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(
        self, config: Mapping[str, object], credential: Mapping[str, str]
    ) -> Mapping[str, object]:
        members = Members(config, credential)
        checked = {"path": members.place("path", _PATH, DEFAULT_PATH)}
        members.end()
        return checked

    def open(self, opening: Opening) -> "FileDestination":
        workspace = str(opening.workspace_id)
        return FileDestination(
            WorkspaceFolder(self._folder, workspace),
            self._folder / workspace,
            str(opening.config["path"]),
        )


class FileDestination:
    def __init__(self, folder: WorkspaceFolder, root: Path, pattern: str) -> None:
        self._folder = folder
        self._root = root
        self._pattern = pattern

    def read(self, slot: SlotName) -> Held | None:
        return self._folder.read(self._steps(slot))

    def write(self, slot: SlotName, value: str, expected: str | None) -> str:
        steps = self._steps(slot)
        with self._folder.locked():
            held = self._folder.read(steps)
            if (None if held is None else held.version) != expected:
                raise conflict()
            return self._folder.replace(steps, value)

    def locate(self, slot: SlotName) -> str:
        return str(self._root.joinpath(*self._steps(slot)))

    def close(self) -> None:
        """Nothing is kept open between two calls."""

    def _steps(self, slot: SlotName) -> tuple[str, ...]:
        return tuple(place_of(self._pattern, slot).split("/"))
