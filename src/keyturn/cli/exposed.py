"""What somebody found, as text: the keys that it exposes. Pure.

1. A text is whatever was copied at 3 a.m.: a token alone, with quotes or a header around it, in a
   line of a log, broken over two lines, or several. Whole tokens are found wherever they stand.
2. What is left of a token, its hint at least, names its key all the same; so does an id, where a
   line has nothing but ids.
3. No part of a token is kept in what is told: a key is named by its hint.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from keyturn.domain.base62 import decode_uuid, encode_uuid
from keyturn.domain.identity import parse_id
from keyturn.domain.redaction import find_tokens
from keyturn.domain.token import OPERATOR_ENVIRONMENT, Token

# What chats and mail put between letters, unseen.
_UNSEEN = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
_BREAK = re.compile(r"=?\r?\n[ \t>|]*")
_HINT = re.compile(
    r"[a-z]{2,8}_(?P<environment>[a-z0-9]{1,16})_(?P<id>[0-9A-Za-z]{22})[0-9A-Za-z]*"
)
_UUID = re.compile(r"(?<![0-9a-fA-F-])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_BETWEEN = re.compile(r"[\s,;\"'`()\[\]]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """A key that a text exposes. `token` is there where it stood whole; `label` is how it is told
    of, and holds no secret."""

    id: UUID
    label: str
    token: Token | None = None
    is_operators: bool = False


def decode(raw: bytes) -> str:
    """The text of a file or a pipe, in UTF-8, or in UTF-16 as some shells write it."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace")
    return raw.decode("utf-8", "replace")


def find_exposed(text: str) -> list[Exposed]:
    """The keys that are exposed by `text`, each once, in order; whole tokens before what else
    names a key."""
    clean = text.translate(_UNSEEN)
    found: dict[UUID, Exposed] = {}
    for one in (*_tokens(clean), *_tokens(_BREAK.sub("", clean)), *_named(clean)):
        found.setdefault(one.id, one)
    return list(found.values())


def _tokens(text: str) -> Iterator[Exposed]:
    for token in find_tokens(text):
        yield Exposed(
            id=token.id, label=f"{token.hint}…", token=token, is_operators=token.is_operators
        )


def _named(text: str) -> Iterator[Exposed]:
    for line in text.splitlines():
        hints = [one for one in map(_of_hint, _HINT.finditer(line)) if one is not None]
        yield from hints or _ids(line)


def _of_hint(match: re.Match[str]) -> Exposed | None:
    id_ = decode_uuid(match["id"])
    if id_ is None:
        return None
    return Exposed(
        id=id_,
        label=f"{match.group()[: match.end('id') - match.start()]}…",
        is_operators=match["environment"] == OPERATOR_ENVIRONMENT,
    )


def _ids(line: str) -> Iterator[Exposed]:
    """UUIDs wherever they stand; 22 characters only where the line has nothing else, since many a
    word is as long."""
    words = [word for word in _BETWEEN.split(line) if word]
    ids = [parse_id(word) for word in words]
    known = [one for one in ids if one is not None]
    if len(known) < len(words):
        known = [UUID(one) for one in _UUID.findall(line)]
    for one in known:
        yield Exposed(id=one, label=encode_uuid(one))
