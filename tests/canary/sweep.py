"""Finds needles in bytes, gigabytes of them, with nothing but the standard library.

Every needle has 11 bytes or more. Wherever it stands, a word of 8 bytes at a multiple of 4 lies
wholly within it, at one of its first four offsets. So the index holds four words a needle, and the
sink is read as words at every fourth byte, by one set operation in C for each block. Only a block
that has such a word is looked at closely.
"""

import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tests.canary.needles import Needle, needles_of, plain_form
from tests.canary.registry import Canary

BLOCK_BYTES = 256 << 10
MARGIN_BYTES = 2 << 10  # a whole token and what names it, in the widest encoding
LARGEST_UNPACKED_BYTES = 64 << 20
_WORD = 8
_STRIDE = 4
_GZIP = b"\x1f\x8b\x08"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A part of a sink, with a margin on both sides that belongs to its neighbours."""

    sink: Path
    data: bytes
    first: int  # byte of the sink
    own: range  # of the data
    is_unpacked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a canary's secret stands, or a piece of it."""

    canary: Canary
    encoding: str
    block: Block
    form: bytes  # the block's data in plain form
    start: int  # of the encoded secret there; negative where it begins before
    at: int  # of the piece there

    @property
    def sink(self) -> Path:
        return self.block.sink

    @property
    def offset(self) -> int:
        """The byte of the sink that the piece begins at."""
        data = self.block.data
        end = bisect_left(range(len(data) + 1), self.at + 1, key=lambda to: _size(data[:to]))
        return self.block.first + max(end - 1, 0)

    def __repr__(self) -> str:  # nothing of the data
        within = ", unpacked," if self.block.is_unpacked else ""
        return f"{self.sink}{within} byte {self.offset}: {self.canary.name} ({self.encoding})"


class Index:
    """The needles of all canaries, by the words that tell them."""

    def __init__(self, canaries: Iterable[Canary]) -> None:
        self._needles: list[tuple[Canary, Needle]] = []
        self._words: dict[int, int | tuple[int, ...]] = {}
        for canary in canaries:
            for needle in needles_of(canary.spelled, canary.raw):
                self._add(canary, needle)
        self._telling = frozenset(self._words)  # asked half as long as the dictionary
        self.encodings = sorted({needle.encoding for _, needle in self._needles})

    def _add(self, canary: Canary, needle: Needle) -> None:
        if len(needle.piece) < _WORD + _STRIDE - 1:
            raise ValueError("too short to be found at every offset")
        number = len(self._needles) * _STRIDE
        self._needles.append((canary, needle))
        for offset in range(_STRIDE):
            word = int.from_bytes(needle.piece[offset : offset + _WORD], sys.byteorder)
            there = self._words.get(word)
            if there is None:
                self._words[word] = number + offset
            else:
                others = (there,) if isinstance(there, int) else there
                self._words[word] = (*others, number + offset)

    def places(self, block: Block) -> Iterator[Place]:
        """What stands in the block and begins in its own part, each once an encoding."""
        form = plain_form(block.data)
        own: range | None = None
        seen: set[tuple[bytes, str, int]] = set()
        for position, entry in self._candidates(form):
            if own is None:
                own = _own_in_plain_form(block)
            number, offset = divmod(entry, _STRIDE)
            canary, needle = self._needles[number]
            at = position - offset
            start = at - needle.offset
            is_own = start < own.stop and (start >= own.start or block.own.start == 0)
            told = (canary.raw, needle.encoding, start)
            if is_own and told not in seen and form.startswith(needle.piece, max(at, 0)):
                seen.add(told)
                yield Place(
                    canary=canary,
                    encoding=needle.encoding,
                    block=block,
                    form=form,
                    start=start,
                    at=at,
                )

    def _candidates(self, form: bytes) -> Iterator[tuple[int, int]]:
        for shift in (0, _STRIDE):
            usable = max(len(form) - shift, 0) // _WORD * _WORD
            words = array("Q", form[shift : shift + usable])
            if self._telling.isdisjoint(words):
                continue
            for number, word in enumerate(words):
                entries = self._words.get(word, ())
                for entry in (entries,) if isinstance(entries, int) else entries:
                    yield number * _WORD + shift, entry


def _own_in_plain_form(block: Block) -> range:
    return range(_size(block.data[: block.own.start]), _size(block.data[: block.own.stop]))


def _size(data: bytes) -> int:
    return len(plain_form(data))


# --- files ---------------------------------------------------------------------------------------


def places_in(index: Index, path: Path, part: range | None = None) -> Iterator[Place]:
    """What stands in the file, or begins in a part of it; also in what is packed there by gzip."""
    with path.open("rb") as file:
        for block in _blocks(path, file, part or range(path.stat().st_size)):
            yield from index.places(block)
            position = block.data.find(_GZIP, block.own.start, block.own.stop)
            while position >= 0:
                for inner in _unpacked(path, file, block.first + position):
                    yield from index.places(inner)
                position = block.data.find(_GZIP, position + 1, block.own.stop)


def _blocks(path: Path, file: BinaryIO, part: range) -> Iterator[Block]:
    for begin in range(part.start, part.stop, BLOCK_BYTES):
        first = max(begin - MARGIN_BYTES, 0)
        end = min(begin + BLOCK_BYTES, part.stop)
        file.seek(first)
        data = file.read(end + MARGIN_BYTES - first)
        yield Block(sink=path, data=data, first=first, own=range(begin - first, end - first))


def _unpacked(path: Path, file: BinaryIO, first: int) -> Iterator[Block]:
    """As much as can be had of it: a file may have been torn off, or be none of gzip's."""
    file.seek(first)
    stream = zlib.decompressobj(31)
    parts: list[bytes] = []
    try:
        while not stream.eof and sum(map(len, parts)) < LARGEST_UNPACKED_BYTES:
            packed = file.read(BLOCK_BYTES)
            if not packed:
                break
            parts.append(stream.decompress(packed, LARGEST_UNPACKED_BYTES))
    except zlib.error:
        pass
    content = b"".join(parts)
    if content:
        yield Block(sink=path, data=content, first=first, own=range(len(content)), is_unpacked=True)
