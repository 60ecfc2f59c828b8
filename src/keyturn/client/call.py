"""A call of the API as a value: what is to be sent, and how its answer is read. No I/O.

1. Every operation of the client is a function that makes a `Call` (or a `Listing`, where its answer
   comes in pages). A face, blocking or asynchronous, sends it. So there is one body of code for
   both, and it can be tested without a server.
2. A call that `may_repeat` has the same effect sent twice as sent once: by its nature, or by its
   `Idempotency-Key`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar
from urllib.parse import parse_qsl, quote

import msgspec

from keyturn.client.errors import NotUnderstood
from keyturn.domain.token import Token, parse_token

T = TypeVar("T")

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. The names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request to be sent. `path` is encoded and has no query."""

    method: str
    path: str
    read: Callable[[Answer], T]
    query: Query = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = field(default=None, repr=False)
    may_repeat: bool = True
    wants_idempotency_key: bool = False
    is_anonymous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some items of a list, and where it goes on. `total` counts them all, where that was asked."""

    items: list[T]
    total: int | None = None
    following: "Call[Page[T]] | None" = None

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[T]):
    """A list in pages; `first` asks for the first one."""

    first: Call[Page[T]]


def segment(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")


def query(**asked: "str | int | bool | datetime | None") -> Query:
    """The query of what was asked; None is not asked. Raises `ValueError` for a time without an
    offset, which nobody can place."""
    return tuple((name, _spelled(value)) for name, value in asked.items() if value is not None)


def body(**members: object) -> bytes:
    """A JSON body of what is given; None is not given."""
    return _encode({name: value for name, value in members.items() if value is not None})


def if_match(version: int | None) -> dict[str, str]:
    """The header by which a change is made to that version alone."""
    return {} if version is None else {"If-Match": f'"{version}"'}


def reading(type_: type[T]) -> Callable[[Answer], T]:
    """Reads a JSON body of this type. Members that are not known are left out: the server may be
    newer."""
    decoder = msgspec.json.Decoder(type_, dec_hook=_given)

    def read(answer: Answer) -> T:
        try:
            return decoder.decode(answer.content)
        except (ValueError, RecursionError) as error:
            raise NotUnderstood(answer.status, f"it is no {type_.__name__}") from error

    return read


def listing(type_: type[T], path: str, asked: Query) -> Listing[T]:
    """A list of plain JSON arrays, whose next page is told by `Link` (RFC 8288)."""
    read_items = reading(list[type_])  # type: ignore[valid-type]

    def call(asked: Query) -> Call[Page[T]]:
        def read(answer: Answer) -> Page[T]:
            cursor = _next_cursor(answer)
            total = answer.headers.get("x-total-count", "")
            return Page(
                items=read_items(answer),
                total=int(total) if total.isdecimal() else None,
                following=None if cursor is None else call(moved(asked, cursor)),
            )

        return Call(method="GET", path=path, query=asked, read=read)

    return Listing(first=call(asked))


def moved(asked: Query, cursor: str) -> Query:
    """The same question, from the cursor on. Only the cursor is taken from an answer: a link that
    leads elsewhere would be sent the token."""
    return (*(pair for pair in asked if pair[0] != "cursor"), ("cursor", cursor))


def _next_cursor(answer: Answer) -> str | None:
    target, _, relation = answer.headers.get("link", "").partition(">")
    if 'rel="next"' not in relation:
        return None
    return dict(parse_qsl(target.partition("?")[2])).get("cursor")


def _spelled(value: str | int | bool | datetime) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return _instant(value)
        case _:
            return str(value)


def _instant(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError("a time needs its offset: datetime(..., tzinfo=UTC)")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _to_send(value: object) -> object:
    match value:
        case Token():
            return value.reveal()
        case _:
            raise TypeError(f"{type(value).__name__} cannot be sent")


_encode_json = msgspec.json.Encoder(enc_hook=_to_send).encode


def _encode(members: object) -> bytes:
    return _encode_json(members)


def _given(type_: type, value: object) -> object:
    if type_ is object:
        return value  # what callers keep in metadata, as it is
    if type_ is Token and isinstance(value, str):
        token = parse_token(value)
        if token is not None:
            return token
    # Says nothing of the value, which may be a token cut short.
    raise ValueError("not a token")
