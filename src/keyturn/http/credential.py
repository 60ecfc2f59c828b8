"""The credential of a call: one token, in one of two headers, never in the URL."""

import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

from keyturn.domain.error import CredentialAmbiguous, CredentialMissing
from keyturn.domain.redaction import SHORTEST, holds_shape

Headers = Iterable[tuple[bytes, bytes]]

# A query member of one of these names is a credential, whatever its value looks like.
_NAMES = frozenset(
    {"api_key", "apikey", "api-key", "x-api-key", "access_token", "authorization", "bearer"}
)
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_MOST_DECODINGS = 10
UNREADABLE = "[encoded too often]"


def presented_token(headers: Headers) -> str:
    """The token that a call carries. Raises `CredentialMissing` or `CredentialAmbiguous`.

    Another scheme than Bearer is no token: a proxy in front may have its own.
    """
    found: set[bytes] = set()
    for name, value in headers:
        if name == b"x-api-key":
            found.add(value.strip())
        elif name == b"authorization":
            scheme, _, rest = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                found.add(rest.strip())
    found.discard(b"")
    if not found:
        raise CredentialMissing(
            "Send a token as `Authorization: Bearer <token>` or `X-API-Key: <token>`."
        )
    if len(found) > 1:
        raise CredentialAmbiguous("Two different tokens were sent; send one.")
    return found.pop().decode("latin-1")


def header_texts(headers: Headers) -> dict[str, str]:
    """The headers as texts, by their names in lower case; the first of each."""
    found: dict[str, str] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return found


def is_in_url(raw_path: bytes, query: bytes) -> bool:
    """Whether the URL holds something of a token's shape, or a query member named like one.

    A URL that is encoded more often than anybody means it counts too: it may hide anything.
    """
    if query and any(
        decoded(member.partition(b"=")[0]).strip().lower() in _NAMES for member in query.split(b"&")
    ):
        return True
    if len(raw_path) + len(query) < SHORTEST:
        return False
    return any(
        holds_shape(text) or _ENCODED.search(text) is not None
        for text in (decoded(raw_path), decoded(query))
    )


def decoded(raw: bytes) -> str:
    """The text of a part of a URL, with its percent-encoding taken off, however often it is on."""
    text = raw.decode("latin-1")
    for _ in range(_MOST_DECODINGS):
        if _ENCODED.search(text) is None:
            break
        text = unquote_plus(text, errors="replace")
    return text


def readable(raw: bytes) -> str:
    """The same for a record or a log: nothing of what is still encoded, which no redaction sees."""
    text = decoded(raw)
    return text if _ENCODED.search(text) is None else UNREADABLE
