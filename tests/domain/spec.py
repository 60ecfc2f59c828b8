"""The formats once more, from the wire contract and the vectors' `about` alone.

Nothing here imports `keyturn`: what the product and this agree on, two readings agree on.
"""

import hashlib
import hmac
import json
import zlib
from pathlib import Path
from typing import NamedTuple

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LOWER = frozenset("abcdefghijklmnopqrstuvwxyz")
LOWER_AND_DIGITS = LOWER | frozenset("0123456789")

VECTORS = Path(__file__).parents[2] / "vectors"


def vectors(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((VECTORS / f"{name}.json").read_text(encoding="ascii"))
    return found


# --- tokens ---------------------------------------------------------------------------------------


def to_base62(value: int, width: int) -> str:
    text = ""
    while value:
        text = DIGITS[value % 62] + text
        value //= 62
    assert len(text) <= width
    return text.rjust(width, "0")


def from_base62(text: str) -> int:
    return sum(DIGITS.index(digit) * 62**place for place, digit in enumerate(reversed(text)))


class Parts(NamedTuple):
    brand: str
    environment: str
    id: int
    secret: str
    secret_value: int


def write_token(brand: str, environment: str, id_: int, secret: int) -> str:
    body = f"{brand}_{environment}_{to_base62(id_, 22)}{to_base62(secret, 43)}"
    return body + to_base62(zlib.crc32(body.encode("ascii")), 6)


def read_token(text: str) -> Parts | None:
    """The parts of a well-formed token; None for anything else."""
    if len(text.encode("utf-8", "surrogatepass")) > 128 or text.count("_") != 2:
        return None
    brand, environment, rest = text.split("_")
    if not (2 <= len(brand) <= 8 and LOWER.issuperset(brand)):
        return None
    if not (1 <= len(environment) <= 16 and LOWER_AND_DIGITS.issuperset(environment)):
        return None
    if len(rest) != 71 or not set(DIGITS).issuperset(rest):
        return None
    id_, secret, checksum = (from_base62(part) for part in (rest[:22], rest[22:65], rest[65:]))
    if id_ >= 2**128 or secret >= 2**256 or checksum >= 2**32:
        return None
    if checksum != zlib.crc32(text[:-6].encode("ascii")):
        return None
    return Parts(brand, environment, id_, rest[22:65], secret)


# --- digests --------------------------------------------------------------------------------------


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def digest(
    peppers: dict[str, bytes], applied: str, workspace_id: bytes, key_id: bytes, secret: bytes
) -> bytes:
    versions = applied.split("+")
    ids = workspace_id + key_id
    found = hmac_sha256(peppers[versions[0]], b"keyturn/digest/v1" + b"\0" + ids + secret)
    for version in versions[1:]:
        found = hmac_sha256(peppers[version], b"keyturn/wrap/v1" + b"\0" + ids + found)
    return found


# --- seals ----------------------------------------------------------------------------------------


def cell(kind: str, data: bytes) -> bytes:
    letter = {"null": b"n", "integer": b"i", "text": b"s", "bytes": b"b", "float": b"f"}[kind]
    return letter + len(data).to_bytes(8, "big") + data


def described_cell(described: dict[str, str]) -> bytes:
    kind = described["type"]
    value = described.get("value", "")
    return cell(kind, bytes.fromhex(value) if kind == "bytes" else value.encode("utf-8"))


def row_encoding(table: str, row: dict[str, dict[str, str]]) -> bytes:
    encoded = cell("text", table.encode())
    for column, described in sorted(row.items()):
        encoded += cell("text", column.encode()) + described_cell(described)
    return encoded


def seal(key: bytes, encoding: bytes) -> bytes:
    return b"\x01" + hmac_sha256(key, b"keyturn/row/v1" + b"\0" + encoding)


# --- activity -------------------------------------------------------------------------------------


def content_hash(content: bytes) -> bytes:
    return hashlib.sha256(b"\0" + content).digest()


def link_hash(
    previous: bytes, number: int, expires_at: int, content: bytes, change: list[object] | None
) -> bytes:
    numbers = number.to_bytes(8, "big") + expires_at.to_bytes(8, "big")
    spelled = "" if change is None else json.dumps(change, separators=(",", ":"))
    return hashlib.sha256(b"\x01" + previous + numbers + content + spelled.encode()).digest()
