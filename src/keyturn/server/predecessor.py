"""The predecessor: the node that this data folder was of before, where it is known to be dead.

A node that was killed said no goodbye, so that everybody waits for its lease to end before a
revocation is answered. Its successor knows better. It has the lock of the same data folder, which
the system takes away from nobody alive. That says nothing of a folder that was copied, to another
machine or beside itself, while its node lives on; so the file names the machine since its start,
and the folder by its number, and only where both are the same is the predecessor buried.
"""

import json
import logging
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from keyturn.domain.error import InstallationFault, StorageUnavailable
from keyturn.server.draft import private_draft
from keyturn.storage.contract import Cluster

FILE = "node.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_BOOT_SECONDS = 2.0

_log = logging.getLogger("keyturn.predecessor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who has or had a data folder: a node, on a machine since its start, in a folder of it."""

    node: str
    machine: str
    folder: str


def succeed(home: Path, node_id: str, cluster: Cluster) -> None:
    """Buries the folder's last node, where it is dead for sure, and writes down who has the folder
    now. To be called by who has the folder's lock, before it is granted a lease."""
    machine = machine_since_start()
    if machine is None:
        return
    now = Holder(node=node_id, machine=machine, folder=_folder(home))
    last = _read(home / FILE)
    try:
        if last is not None and (last.machine, last.folder) == (now.machine, now.folder):
            cluster.bury(last.node)
    except StorageUnavailable as error:
        _log.warning("the node before this one is waited for: %s", error.detail)
    try:
        with private_draft(home / FILE, replaces=True) as file:
            file.write(json.dumps(asdict(now)).encode())
    except (OSError, InstallationFault) as error:
        _log.warning("%s cannot be written, so a successor is waited for: %s", home / FILE, error)


def machine_since_start() -> str | None:
    """What names this machine since it was started last, None where nothing does."""
    if sys.platform == "darwin":
        asked = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        try:
            told = subprocess.run(  # noqa: S603  (these words and no others)
                asked, capture_output=True, timeout=_BOOT_SECONDS, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return told.stdout.decode("ascii", "replace").strip() or None
    try:
        return _BOOT_ID.read_text("ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _folder(home: Path) -> str:
    found = home.stat()
    return f"{found.st_dev}:{found.st_ino}"


def _read(path: Path) -> Holder | None:
    try:
        members = json.loads(path.read_bytes())
        return Holder(**{name: str(members[name]) for name in ("node", "machine", "folder")})
    except (OSError, ValueError, KeyError, TypeError):
        return None
