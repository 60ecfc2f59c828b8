"""What is asked of a place that a token is taken from.

1. `read` gives what the place holds now, whatever that is; `take` makes a token of it, or a fault.
   Half a file, an empty value, a page of an unfriendly proxy: none is ever handed on as a token.
2. A fault is one plain sentence that holds no secret, and nothing that the other side has said.
3. Every read ends within its time.
4. Whatever else a place raises, its vendor's library or an object of the program's own, is a fault
   as well: `take` and `stamp_of` let nothing else out.
"""

from typing import Protocol

from keyturn.client.errors import KeyturnClientError, SourceFault
from keyturn.domain.token import Token, parse_token

CONNECT_SECONDS = 3.0
READ_SECONDS = 5.0

# What a place may hold around a token: other fields of a secret.
MOST_BYTES = 1_048_576

Stamp = tuple[int, ...]


class Source(Protocol):
    """One place. Used by any number of threads."""

    @property
    def name(self) -> str:
        """The place as it is written: `vault:secret/keyturn/scheduler-prod#api_key`. No secret."""
        ...

    def read(self) -> str:
        """What the place holds now. Raises `SourceFault`."""
        ...

    def stamp(self) -> Stamp | None:
        """A mark that is another once the place is written to, where it costs next to nothing to
        look (a file); None where there is no such mark."""
        ...


def take(source: Source) -> Token:
    """The token that the place holds now. Raises `SourceFault`."""
    text = _text(source).strip()
    if not text:
        raise unreadable(source.name, "it is empty")
    token = parse_token(text)
    if token is None:
        raise unreadable(source.name, "what stands there is no whole token")
    return token


def _text(source: Source) -> str:
    try:
        return source.read()
    except KeyturnClientError:
        raise
    except Exception as error:  # noqa: BLE001  (of a vendor's library: any, with any text)
        kind = type(error).__name__
    raise unreadable(source.name, f"reading it failed ({kind})")  # carries nothing of it along


def stamp_of(source: Source) -> Stamp | None:
    """The mark of the place now; where looking for it fails, it has none."""
    try:
        return source.stamp()
    except Exception:  # noqa: BLE001  (the next read tells what is wrong)
        return None


def unreadable(name: str, why: str, *, may_pass: bool = True) -> SourceFault:
    """The fault of a place; `why` is a part of a sentence."""
    return SourceFault(f"No token can be taken from {name}: {why}.", may_pass=may_pass)
