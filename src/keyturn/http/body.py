"""Reading bodies: a cap on their size, an end to waiting for them, and JSON in one reading only."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NoReturn

from keyturn.domain.error import (
    BodyTimeout,
    BodyTooLarge,
    MediaTypeUnsupported,
    RequestMalformed,
)

LARGEST_BYTES = 1 << 20
# What is still read, and thrown away, of a body that is too large, so that its sender gets to read
# the answer instead of a reset connection.
DRAINED_BYTES = 64 << 20

# More than any body of ours has, and few enough to say what is wrong with each of them.
MOST_MEMBERS = 1_000

_JSON = b"application/json"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Headers = Iterable[tuple[bytes, bytes]]


class BodyReader:
    """Wraps `receive`: raises `BodyTooLarge` or `BodyTimeout`, from wherever the body is read."""

    def __init__(self, receive: Receive, headers: Headers, timeout_seconds: float) -> None:
        self._receive = receive
        self._timeout_seconds = timeout_seconds
        self._deadline: float | None = None
        self._size = 0
        self._ended = False
        self._declared = _declared_length(headers)

    async def __call__(self) -> Message:
        if self._ended:
            return await self._receive()
        message = await self._next()
        if max(self._declared, self._size) > LARGEST_BYTES:
            await self._drain()
            raise BodyTooLarge(f"A body may have at most {LARGEST_BYTES} bytes.")
        return message

    async def _drain(self) -> None:
        while self._size < DRAINED_BYTES and not self._ended:
            await self._next()

    async def _next(self) -> Message:
        loop = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = loop.time() + self._timeout_seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise BodyTimeout(
                f"The body did not arrive within {self._timeout_seconds:g} seconds."
            ) from None
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
        else:
            self._ended = True
        return message


def _declared_length(headers: Headers) -> int:
    for name, value in headers:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def check_media_type(headers: Headers) -> None:
    """Raises `MediaTypeUnsupported` unless the body says that it is plain JSON, or says nothing."""
    for name, value in headers:
        if (name != b"content-type" and name != b"content-encoding") or value == _JSON:
            continue
        text = value.decode("latin-1").strip().lower()
        if name == b"content-encoding" and text not in ("", "identity"):
            raise MediaTypeUnsupported("Send the body as it is, with no content encoding.")
        if name == b"content-type":
            media_type, *parameters = (part.strip() for part in text.split(";"))
            charsets = [one for one in parameters if one.startswith("charset=")]
            if media_type != "application/json" or any(
                one.partition("=")[2].strip('"') not in ("utf-8", "utf8") for one in charsets
            ):
                raise MediaTypeUnsupported("Send the body as application/json, in UTF-8.")


def parse_json(raw: bytes) -> object:
    """The value that `raw` spells, in the one reading of it that every parser would agree with.

    Raises `RequestMalformed` on bad UTF-8, duplicate members, NaN, or nesting that is too deep.
    """
    try:
        return json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise RequestMalformed("The body is nested too deep.") from None
    except UnicodeDecodeError:
        raise RequestMalformed("The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise RequestMalformed(f"The body is not JSON: it stops making sense at {where}.") from None
    except _Refused as error:
        raise RequestMalformed(f"The body cannot be read as JSON: {error}.") from None
    except ValueError:
        raise RequestMalformed("The body cannot be read as JSON: a number is too long.") from None


class _Refused(ValueError):
    """JSON that parsers do not agree on."""


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(pairs) > MOST_MEMBERS:
        raise _Refused(f"an object has more than {MOST_MEMBERS} members")
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Refused("an object has two members of one name")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _Refused("a number is too large")
    return number


def _refuse_constant(_: str) -> NoReturn:
    raise _Refused("NaN and Infinity are no JSON")
