"""Finding tokens inside other text, to refuse them or to take the secret out before it is kept.

Redaction goes by shape alone and any brand, since a token with one mistyped character is still a
secret, and so is one whose brand is in capitals, has other separators, or was left out. Refusal of
a name or a reason asks for a good checksum too, so that no innocent text is refused.
"""

import re
from collections.abc import Iterator

from keyturn.domain.token import SHAPE, Token, parse_token

SHORTEST = 2 + 1 + 1 + 1 + 71

_SHAPE = re.compile(SHAPE)

# A token cut off within its checksum still has its whole secret. The brand is looked back at
# and not consumed: the last letters of one shape may be the brand of the next, and the first must
# not shield the second.
_SECRET = re.compile(r"(?<=[a-z]{2}_)([a-z0-9]{1,16}_[0-9A-Za-z]{22})[0-9A-Za-z]{43,49}")

# The id, the secret and the checksum of a token whose beginning was lost or written otherwise: a
# word of their length, with a character too many or the checksum cut off. (SHA-256 in hex has 64.)
_BODY = re.compile(r"(?<![0-9A-Za-z])([0-9A-Za-z]{22})[0-9A-Za-z]{43,50}(?![0-9A-Za-z])")
_SHORTEST_BODY = 22 + 43


def holds_shape(text: str) -> bool:
    """Whether anything in `text` has a token's shape, whatever its checksum."""
    return len(text) >= SHORTEST and _SHAPE.search(text) is not None


def find_tokens(text: str) -> Iterator[Token]:
    """The tokens with a good checksum that stand anywhere in `text`, in order."""
    position = 0
    while len(text) - position >= SHORTEST:
        match = _SHAPE.search(text, position)
        if match is None:
            return
        # Letters before the brand (`xkt_prod_…`) would spoil the checksum: try each beginning.
        latest = match.end("brand") - 2
        beginnings = (text[at : match.end()] for at in range(match.start(), latest + 1))
        token = next(filter(None, map(parse_token, beginnings)), None)
        position = latest + 1 if token is None else match.end()
        if token is not None:
            yield token


def find_token(text: str) -> Token | None:
    """The first token with a good checksum that stands anywhere in `text`."""
    return next(find_tokens(text), None)


def holds_token(text: str) -> bool:
    """Whether a token with a good checksum stands anywhere in `text`."""
    return find_token(text) is not None


def redact(text: str) -> str:
    """`text` with the secret and the checksum taken out of everything that has a token's shape, or
    is a word as long as what a token has behind its brand and environment."""
    if len(text) < _SHORTEST_BODY:
        return text
    return _BODY.sub(r"\1[redacted]", _SECRET.sub(r"\1[redacted]", text))
