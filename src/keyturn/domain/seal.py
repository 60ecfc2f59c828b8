"""The seal of a stored row: a MAC over the table's name and every column, the version included.

1. `seal = 0x01 ‖ HMAC-SHA-256(row key, "keyturn/row/v1" ‖ 0 ‖ encoding)`; the first byte names
   the scheme, so that a later one can be told apart.
2. The encoding is typed and length-prefixed: no two different rows have the same encoding, and a
   number is not the text that spells it.
3. The table's name and the row's own ids are in it, so a row cannot be copied to another place.
4. A seal cannot tell an *old* genuine row from the present one. The change log does: a row whose
   version is not the last one logged for it is refused too (`storage/credentials.py`).
"""

import hmac
from collections.abc import Mapping
from functools import lru_cache
from typing import NoReturn

_LABEL = b"keyturn/row/v1\x00"
_SCHEME = b"\x01"
_NOTHING = b"n" + bytes(8)

Cell = str | int | float | bytes | None


class Sealer:
    """Seals rows and checks seals, with the row key of this installation (32 bytes)."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("a row key has 32 bytes")
        self._key = key

    def __reduce__(self) -> NoReturn:
        raise TypeError("a row key cannot be pickled or copied")

    def seal(self, table: str, row: Mapping[str, Cell]) -> bytes:
        cells = [_LABEL, _cell(table)]
        for column, name in _spelled(tuple(row)):
            cells += (name, _cell(row[column]))
        encoded = b"".join(cells)
        return _SCHEME + hmac.digest(self._key, encoded, "sha256")

    def holds(self, table: str, row: Mapping[str, Cell], seal: object) -> bool:
        """Whether `seal`, a value of any type, is the seal of exactly this row."""
        return isinstance(seal, bytes) and hmac.compare_digest(self.seal(table, row), seal)


@lru_cache(maxsize=256)
def _spelled(columns: tuple[str, ...]) -> tuple[tuple[str, bytes], ...]:
    """The columns in their order, each with its name as it is encoded: rows of one table share it,
    and thousands of them are sealed at once."""
    return tuple((column, _cell(column)) for column in sorted(columns))


def _cell(value: Cell) -> bytes:
    match value:
        case None:
            return _NOTHING
        case bool() | int():
            kind, data = b"i", str(int(value)).encode()
        case str():
            # What a hostile editor left need not be valid text, and must not stop the check.
            kind, data = b"s", value.encode("utf-8", "surrogatepass")
        case bytes():
            kind, data = b"b", value
        case _:
            kind, data = b"f", repr(value).encode()
    return kind + len(data).to_bytes(8, "big") + data
