"""A journal: what a service sent and how it was answered, in a file of its own.

1. A line of JSON a request, written whole once it was answered or has failed. A service that ends
   cleanly finishes what it has sent, so its journal has every request.
2. Times are of the monotonic clock, which on Linux and macOS is one for all processes of a machine:
   moments of two processes can be compared to the microsecond.
3. A journal knows nothing of Keyturn. The figures compare the two.
"""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `key_hint` is the part of the token that may be shown; `status` is None where no
    answer came."""

    request_id: str
    key_hint: str
    method: str
    path: str
    sent_at: float
    answered_at: float
    status: int | None

    @property
    def is_served(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_refused(self) -> bool:
        return self.status in (401, 403)

    @property
    def seconds(self) -> float:
        return self.answered_at - self.sent_at


class Journal:
    """Writes entries, from any number of threads."""

    def __init__(self, path: Path) -> None:
        self._turn = threading.Lock()
        self._encode = msgspec.json.Encoder().encode
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._file = os.fdopen(descriptor, "ab", buffering=0)

    def write(self, entry: Entry) -> None:
        with self._turn:
            self._file.write(self._encode(entry) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


class JournalReader:
    """Follows a journal that is being written; `entries` are those read so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._decode = msgspec.json.Decoder(Entry).decode
        self.entries: list[Entry] = []

    def refresh(self) -> None:
        """Reads the whole lines that have come since."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                lines, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        self._position += len(lines) + len(newline)
        self.entries.extend(self._decode(line) for line in lines.splitlines())
