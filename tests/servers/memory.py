"""Where the tests have their files: in memory, where the machine has enough of it.

Each commit waits for a disk, and each database of PostgreSQL is a copy of megabytes; what is tried
does not outlive the run. With `TMPDIR` set the files are made there, to be looked at afterwards.
"""

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
PREFIX = "keyturn-"
# A whole run takes some gigabytes.
LEAST_BYTES = 8 << 30
# Where files are made by who knows nothing of the move.
USUAL = Path(tempfile.gettempdir())


def move_into_memory(memory: Path = MEMORY, least_bytes: int = LEAST_BYTES) -> Path | None:
    """Has this process and all that it starts make their files in a folder of this run in memory,
    which is to be removed at its end. None where they stay where they are."""
    if "TMPDIR" in os.environ or not _has_room(memory, least_bytes):
        return None
    _remove_orphans(memory)
    folder = memory / f"{PREFIX}{os.getpid()}"
    folder.mkdir(mode=0o700)
    folder.chmod(0o711)  # the account that PostgreSQL runs as is another
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None  # it is found anew
    return folder


def _has_room(memory: Path, least_bytes: int) -> bool:
    """Whether files may be made there, also programs, which tests write, and so many bytes."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        available = int(lines["MemAvailable"].split()[0]) << 10
        may_run = not os.statvfs(memory).f_flag & os.ST_NOEXEC
        free = shutil.disk_usage(memory).free
    except (OSError, KeyError):
        return False  # another system
    return may_run and os.access(memory, os.W_OK | os.X_OK) and min(available, free) >= least_bytes


def _remove_orphans(memory: Path) -> None:
    """Removes what runs left that were killed."""
    for folder in memory.glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX)
        if owner.isdecimal() and not _is_alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
