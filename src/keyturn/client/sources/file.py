"""`file:/run/secrets/scheduler.token`: a file that has the token, and nothing else.

1. What mounts secrets (Kubernetes, Docker, an agent) puts a whole new file in the old one's place,
   often by a symbolic link: links are followed.
2. Who writes into the file itself may be met half-way: the token's checksum tells.
3. Nothing that could block is read: no pipe, no device.
"""

import os
import stat
from pathlib import Path

from keyturn.client.sources.contract import Stamp, unreadable

# A token has 128 bytes at most; the rest is for white space, and to see that there is more.
_MOST_BYTES = 4_096
_ABSENT: Stamp = ()


class FileSource:
    def __init__(self, path: Path) -> None:
        self.path = path.absolute()  # the program may change its folder later
        self.name = f"file:{path}"

    def read(self) -> str:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise unreadable(self.name, "it is no ordinary file")
                raw = file.read(_MOST_BYTES)
        except OSError as error:
            raise unreadable(self.name, _why(error)) from None
        # What is no ASCII is no token; a decoding error would carry all of it along.
        return raw.decode("ascii", errors="replace")

    def stamp(self) -> Stamp | None:
        try:
            found = self.path.stat()
        except OSError:
            return _ABSENT
        return (
            found.st_dev,
            found.st_ino,
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
        )


def _why(error: OSError) -> str:
    return "there is no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)
