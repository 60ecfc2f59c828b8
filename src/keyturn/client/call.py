"""A call of the API as a value: what is to be sent, and how its answer is read. No I/O.

1. Every operation of the client is a function that makes a `Call` (or a `Listing`, where its answer
   comes in pages). A face, blocking or asynchronous, sends it. So there is one body of code for
   both, and it can be tested without a server.
2. A call that `may_repeat` has the same effect sent twice as sent once: by its nature, or by its
   `Idempotency-Key`.
3. An answer is taken for a success only where it is one that Keyturn gives: what stands between,
   a proxy or a login page, answers 200 too.
4. No token goes into an address, and a time without an offset goes nowhere: a `ValueError` says so
   before anything is sent.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar
from urllib.parse import quote

import msgspec

from keyturn.client.errors import NotUnderstood
from keyturn.domain.idempotency import IDEMPOTENCY_KEY
from keyturn.domain.redaction import holds_shape
from keyturn.domain.signing_secret import SECRET_PREFIX, WebhookSecret
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
    """One request to be sent. `path` is encoded and has no query. An answer is read where it is a
    success, or of a status that is `also_read`."""

    method: str
    path: str
    read: Callable[[Answer], T]
    query: Query = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = field(default=None, repr=False)
    may_repeat: bool = True
    wants_idempotency_key: bool = False
    is_anonymous: bool = False
    also_read: frozenset[int] = frozenset()


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
    if text in ("", ".", ".."):
        raise ValueError("this names nothing: an id or a name is needed")
    return quote(_harmless(text), safe="")


def query(**asked: "str | int | bool | datetime | None") -> Query:
    """The query of what was asked; None is not asked."""
    return tuple((name, _spelled(value)) for name, value in asked.items() if value is not None)


def body(**members: object) -> bytes:
    """A JSON body of what is given; None is not given."""
    given = {name: value for name, value in members.items() if value is not None}
    for value in given.values():
        _check_moments(value)
    return _encode(given)


def if_match(version: int | None) -> dict[str, str]:
    """The header by which a change is made to that version alone."""
    return {} if version is None else {"If-Match": f'"{version}"'}


def if_none(is_new: bool) -> dict[str, str]:
    """The header by which a thing is made only where there is none."""
    return {"If-None-Match": "*"} if is_new else {}


def prefer(respond_async: bool) -> dict[str, str]:
    """The header by which an answer does not wait until it is effective on every verifier."""
    return {"Prefer": "respond-async"} if respond_async else {}


def once(idempotency_key: str | None) -> dict[str, str]:
    """The header of an idempotency key that the caller chose."""
    if idempotency_key is None:
        return {}
    if IDEMPOTENCY_KEY.fullmatch(idempotency_key) is None or holds_shape(idempotency_key):
        raise ValueError("an idempotency key is 1 to 255 printable ASCII characters, and no token")
    return {"Idempotency-Key": idempotency_key}


def reading(type_: type[T]) -> Callable[[Answer], T]:
    """Reads a JSON body of this type. Members that are not known are left out: the server may be
    newer."""
    decoder = msgspec.json.Decoder(type_, dec_hook=_given)

    def read(answer: Answer) -> T:
        try:
            return decoder.decode(answer.content)
        except (ValueError, RecursionError):
            pass  # and goes out of sight: a UnicodeDecodeError carries the whole answer with it
        raise NotUnderstood(answer.status, f"it is no {_name(type_)}")

    return read


def _name(type_: type) -> str:
    return getattr(type_, "__name__", "answer of this call")


def _spelled(value: str | int | bool | datetime) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return _refuse_naive(value).astimezone(UTC).isoformat().replace("+00:00", "Z")
        case int():
            return str(value)
        case _:
            return _harmless(value)


def _harmless(text: str) -> str:
    """Addresses stand in histories and in the logs of everything on the way."""
    if holds_shape(text):
        raise ValueError("a token does not go into an address: give the key's id")
    return text


def _check_moments(value: object) -> None:
    match value:
        case datetime():
            _refuse_naive(value)
        case msgspec.Struct():
            _check_moments([getattr(value, name) for name in value.__struct_fields__])
        case list() | tuple():
            for one in value:
                _check_moments(one)
        case _:
            pass


def _refuse_naive(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise ValueError("a time needs its offset: datetime(..., tzinfo=UTC)")
    return moment


_encode = msgspec.json.Encoder().encode


def _given(type_: type, value: object) -> object:
    if type_ is object:
        return value  # what callers keep in metadata, as it is
    if type_ is Token and isinstance(value, str):
        token = parse_token(value)
        if token is not None:
            return token
    if type_ is WebhookSecret and isinstance(value, str) and value.startswith(SECRET_PREFIX):
        return WebhookSecret(value)
    # Says nothing of the value, which may be a token cut short.
    raise ValueError("not a token")
