"""The request: one use of a key, as Keyturn saw and judged it."""

from dataclasses import dataclass
from uuid import UUID

from keyturn.domain.network import Address
from keyturn.domain.redaction import redact
from keyturn.domain.runtime import Runtime
from keyturn.domain.text import without_controls

VALID = "valid"
LONGEST_PATH = 2_000
LONGEST_USER_AGENT = 500
LONGEST_METHOD = 32
LONGEST_ENVIRONMENT = 64
LONGEST_PLACE = 128
MOST_SCOPES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, to be recorded. `key_id` is None unless the secret was right.

    `workspace_id` is None where the token named nothing that exists and the caller is of no
    workspace. Texts are as they came; `recordable` makes them fit to be kept. `place` is where it
    came from (`place.py`), and a check-in is a look at `/v1/self`, which is no use of the key.
    `named_network` is the workspace's name for the network of the address, `country` the code of
    its country (ISO 3166), `browser` the sign of one (`browser.py`); None where there is none.
    """

    at: int
    request_id: str
    workspace_id: UUID | None
    key_id: UUID | None
    code: str
    runtime: Runtime
    address: Address | None
    user_agent: str | None
    method: str | None
    path: str | None
    scopes: tuple[str, ...]
    environment: str | None
    place: str | None = None
    is_check_in: bool = False
    named_network: str | None = None
    country: str | None = None
    browser: str | None = None

    @property
    def is_valid(self) -> bool:
        return self.code == VALID

    @property
    def network(self) -> str | None:
        """Where it came from, as a person is told: the network's name, else the address."""
        if self.named_network is not None or self.address is None:
            return self.named_network
        return str(self.address)


# More than any token has: what may stand cut in two at the end of a text that was cut short.
_SPARE = 128


def bounded(text: str | None, longest: int) -> str | None:
    """`text` short enough to wait in memory until it is kept: no longer than `recordable` needs."""
    return text if text is None or len(text) <= longest + _SPARE else text[: longest + _SPARE]


def recordable(text: str | None, longest: int) -> str | None:
    """`text` fit to be kept: secrets taken out first, then control characters, then its length.

    A token that the cut would go through is not seen as one, so the end of a long text goes.
    """
    if text is None:
        return None
    if len(text) > longest:
        text = redact(text[: longest + _SPARE])[:-_SPARE]
    return without_controls(redact(text), longest)


def recordable_path(path: str | None) -> str | None:
    """A path fit to be kept. What follows `?` or `#` is not ours to keep: it may be anything."""
    if path is None:
        return None
    return recordable(path.partition("?")[0].partition("#")[0], LONGEST_PATH)
