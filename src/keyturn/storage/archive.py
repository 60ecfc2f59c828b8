"""The file of a backup: gzip of JSON lines, the same whatever engine it was made from.

1. The first line is the manifest: what this is, and of which installation, revision and log.
2. Each table is a line `{"table", "columns"}` and a line a row, an array in the columns' order.
   Numbers and texts stand as they are (half a pair of surrogates is a byte that is no UTF-8),
   bytes as `{"base64"}`, and a fraction, which no cell of ours is, as its text.
3. The line before the last says how many rows each table has, and what was wrong in the database.
4. The last line has the SHA-256 of all lines before it, and a MAC of that under a key from the root
   secret: anybody can tell a damaged file, and who has the root secret a forged one.

Nothing here is ever held as a whole: a file is read and written a line at a time.
"""

import base64
import binascii
import gzip
import hashlib
import hmac
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, TypeVar

from keyturn.domain.error import InstallationFault
from keyturn.domain.instant import SECOND, is_instant
from keyturn.domain.seal import Cell
from keyturn.domain.text import without_controls

FORMAT = "keyturn-backup"
VERSION = 1
LINE_BYTES = 16 * 1024 * 1024
BATCH = 500
BATCH_BYTES = 4 * 1024 * 1024

_LABEL = b"keyturn/backup/v1\x00"
_COMPRESSION = 6
_LARGEST = 2**63 - 1  # what both engines hold

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup is of. The last three say where the log stood."""

    keyturn: str
    engine: str
    revision: str
    made_at: int
    installation_id: str
    brand: str
    root_fingerprint: str
    pepper_fingerprints: dict[str, str]
    left_out: tuple[str, ...]
    position: int
    activity_number: int
    activity_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a backup has: its rows by table, and the faults of the database that it was made of, the
    first of them spelled out."""

    counts: dict[str, int]
    faults: int
    first_faults: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The last line."""

    sha256: str
    mac: str


@dataclass(frozen=True, slots=True)
class Section:
    """A table in the file."""

    table: str
    columns: tuple[str, ...]


class Stamp:
    """Makes and checks the MAC of a backup, with a key of this installation for this alone."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def mac(self, sha256: str) -> str:
        return hmac.digest(self._key, _LABEL + sha256.encode(), "sha256").hex()

    def fits(self, ending: Ending) -> bool:
        return hmac.compare_digest(
            self.mac(ending.sha256).encode(), ending.mac.encode(errors="replace")
        )


class ArchiveWriter:
    """Writes a backup. `finish` is to be called, or there is none."""

    def __init__(self, file: IO[bytes], manifest: Manifest) -> None:
        self._zip = gzip.GzipFile(
            filename="",
            mode="wb",
            compresslevel=_COMPRESSION,
            fileobj=file,
            mtime=manifest.made_at // SECOND,
        )
        self._hash = hashlib.sha256()
        self._counts: dict[str, int] = {}
        self._table = ""
        self._write({"format": FORMAT, "version": VERSION, **_members(manifest)})

    def begin(self, section: Section) -> None:
        self._table = section.table
        self._counts[section.table] = 0
        self._write({"table": section.table, "columns": section.columns})

    def row(self, cells: Sequence[Cell]) -> bool:
        """Writes a row. False where it is larger than any of ours can be, and was left out."""
        line = _spelled([_spelled_cell(cell) for cell in cells])
        if len(line) > LINE_BYTES:
            return False
        self._put(line)
        self._counts[self._table] += 1
        return True

    def finish(self, faults: Sequence[str], first: int, stamp: Stamp) -> tuple[Summary, Ending]:
        summary = Summary(
            counts=self._counts, faults=len(faults), first_faults=tuple(faults[:first])
        )
        self._write(_members(summary))
        sha256 = self._hash.hexdigest()
        ending = Ending(sha256=sha256, mac=stamp.mac(sha256))
        self._write(_members(ending))
        self._zip.close()
        return summary, ending

    def _write(self, value: object) -> None:
        self._put(_spelled(value))

    def _put(self, line: bytes) -> None:
        self._hash.update(line)
        self._zip.write(line)


class ArchiveReader:
    """Reads a backup. What it gave is known to be whole only once `batches` has come to its end.

    Raises `InstallationFault` where the file is none, or is damaged; `name` is told to people.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._name = name
        self._zip = gzip.GzipFile(fileobj=file, mode="rb")
        self._hash = hashlib.sha256()
        self._summary: Summary | None = None
        self._ending: Ending | None = None
        self.manifest = self._begin()

    @property
    def summary(self) -> Summary:
        """Once `batches` is at its end."""
        if self._summary is None:
            raise LookupError("the file was not read to its end")
        return self._summary

    @property
    def ending(self) -> Ending:
        """Once `batches` is at its end."""
        if self._ending is None:
            raise LookupError("the file was not read to its end")
        return self._ending

    def batches(self) -> Iterator[tuple[Section, list[tuple[Cell, ...]]]]:
        """The rows, a few hundred or a few MiB at a time, since nothing is known to be ours yet.

        Raises `InstallationFault` at the end where they are not to the letter what was written.
        """
        counts: dict[str, int] = {}
        section: Section | None = None
        batch: list[tuple[Cell, ...]] = []
        size_bytes = 0
        while self._ending is None:
            line = self._line()
            if line.startswith(b"["):
                if section is None or self._summary is not None:
                    raise self._damaged()
                batch.append(self._row(line, section))
                counts[section.table] += 1
                size_bytes += len(line)
            is_full = len(batch) >= BATCH or size_bytes >= BATCH_BYTES
            if section is not None and batch and (line.startswith(b"{") or is_full):
                yield section, batch
                batch, size_bytes = [], 0
            if not line.startswith(b"["):
                section = self._step(line, section, counts)
        if self._summary is None or self._summary.counts != counts:
            raise self._damaged()

    def _step(self, line: bytes, section: Section | None, counts: dict[str, int]) -> Section | None:
        """Takes what is no row: the beginning of a table, the summary, the last line."""
        found = self._object(line)
        if "sha256" in found:
            self._end(self._made(Ending, found))
        elif self._summary is not None:
            raise self._damaged()
        elif "counts" in found:
            self._summary = self._made(Summary, found)
        else:
            section = self._made(Section, found)
            if section.table in counts:
                raise self._damaged()
            counts[section.table] = 0
        self._hash.update(line)
        return section

    def _end(self, ending: Ending) -> None:
        if ending.sha256 != self._hash.hexdigest() or self._readline() != b"":
            raise self._damaged()
        self._ending = ending

    def _begin(self) -> Manifest:
        try:
            line = self._zip.readline(LINE_BYTES)
        except EOFError:
            raise self._cut_off() from None
        except (gzip.BadGzipFile, zlib.error):
            raise self._foreign() from None
        found = _parsed(line)
        if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
            raise self._foreign()
        version = found.pop("version", None)
        if type(version) is not int or version < 1:
            raise self._damaged()
        if version > VERSION:
            maker = without_controls(str(found.get("keyturn")), 100)
            raise InstallationFault(
                f"{self._name} was made by a newer Keyturn ({maker}).",
                remedy="Install that version, and restore with it.",
            )
        self._hash.update(line)
        return self._made(Manifest, found)

    def _line(self) -> bytes:
        line = self._readline()
        if not line.endswith(b"\n"):
            raise self._damaged() if len(line) >= LINE_BYTES else self._cut_off()
        return line

    def _readline(self) -> bytes:
        try:
            return self._zip.readline(LINE_BYTES + 1)
        except EOFError:
            raise self._cut_off() from None
        except (gzip.BadGzipFile, zlib.error):
            raise self._damaged() from None

    def _row(self, line: bytes, section: Section) -> tuple[Cell, ...]:
        found = _parsed(line)
        if not isinstance(found, list) or len(found) != len(section.columns):
            raise self._damaged()
        self._hash.update(line)
        try:
            return tuple(map(_cell, found))
        except (ValueError, TypeError):
            raise self._damaged() from None

    def _object(self, line: bytes) -> dict[str, Any]:
        found = _parsed(line)
        if not isinstance(found, dict):
            raise self._damaged()
        return found

    def _made(self, kind: type[Record], found: dict[str, Any]) -> Record:
        try:
            made = kind(**{name: _frozen(value) for name, value in found.items()})
        except TypeError:
            raise self._damaged() from None
        if not _has_types(made) or (isinstance(made, Manifest) and not is_instant(made.made_at)):
            raise self._damaged()
        return made

    def _foreign(self) -> InstallationFault:
        return InstallationFault(
            f"{self._name} is no backup of Keyturn.", remedy="Name a file of `keyturn backup`."
        )

    def _cut_off(self) -> InstallationFault:
        return InstallationFault(
            f"{self._name} ends too early: it was cut off.",
            remedy="Copy it again from where it was made, or take another backup.",
        )

    def _damaged(self) -> InstallationFault:
        return InstallationFault(
            f"{self._name} is damaged, or was edited: it is not what was written.",
            remedy="Copy it again from where it was made, or take another backup.",
        )


def _spelled(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def _spelled_cell(cell: Cell) -> object:
    if isinstance(cell, bytes):
        return {"base64": base64.b64encode(cell).decode()}
    return repr(cell) if isinstance(cell, float) else cell


def _cell(value: object) -> Cell:
    match value:
        case bool():
            raise TypeError("no cell is a truth value")
        case int() if not -_LARGEST - 1 <= value <= _LARGEST:
            raise ValueError("no engine holds it")
        case None | int() | str():
            return value
        case {"base64": str(text)}:
            return base64.b64decode(text, validate=True)
        case _:
            raise TypeError("no cell")


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError, binascii.Error):
        return None


def _members(record: Manifest | Summary | Ending) -> dict[str, object]:
    return {name: getattr(record, name) for name in type(record).__slots__}


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _has_types(record: object) -> bool:
    """Whether each member is of the type that it is declared with, and fit to be shown; the faults,
    which quote what was damaged, are not."""
    kinds = dict(type(record).__annotations__)
    if isinstance(record, Summary):
        del kinds["first_faults"]
        faults: object = record.first_faults
        if not isinstance(faults, tuple) or not all(isinstance(one, str) for one in faults):
            return False
    return all(_is(getattr(record, name), kind) for name, kind in kinds.items())


def _is(value: object, kind: object) -> bool:
    if kind is str:
        # None of ours has characters that a terminal obeys, or that cannot be spelled in UTF-8.
        return isinstance(value, str) and without_controls(value, len(value)) == value
    if kind is int:
        return type(value) is int and 0 <= value <= _LARGEST
    if kind == tuple[str, ...]:
        return isinstance(value, tuple) and all(_is(one, str) for one in value)
    member = str if kind == dict[str, str] else int
    return isinstance(value, Mapping) and all(
        _is(name, str) and _is(one, member) for name, one in value.items()
    )
