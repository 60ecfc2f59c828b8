"""Finding tokens inside other text, to refuse them or to take the secret out before it is kept.

Redaction goes by shape alone and any brand, since a token with one mistyped character is still a
secret. Refusal of a name or a reason asks for a good checksum too, so that no innocent text is
refused.
"""

import re

from keyturn.domain.token import SHAPE, parse_token

SHORTEST = 2 + 1 + 1 + 1 + 71

_SHAPE = re.compile(SHAPE)


def holds_shape(text: str) -> bool:
    """Whether anything in `text` has a token's shape, whatever its checksum."""
    return len(text) >= SHORTEST and _SHAPE.search(text) is not None


def holds_token(text: str) -> bool:
    """Whether a token with a good checksum stands anywhere in `text`."""
    if len(text) < SHORTEST:
        return False
    position = 0
    while (match := _SHAPE.search(text, position)) is not None:
        # Letters before the brand (`xkt_prod_…`) would spoil the checksum: try each beginning.
        latest = match.end("brand") - 2
        for start in range(match.start(), latest + 1):
            if parse_token(text[start : match.end()]) is not None:
                return True
        position = latest + 1
    return False


def redact(text: str) -> str:
    """`text` with the secret and the checksum of everything that has a token's shape taken out."""
    if len(text) < SHORTEST:
        return text
    return _SHAPE.sub(r"\g<brand>_\g<environment>_\g<id>[redacted]", text)
