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
MOST_SCOPES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, to be recorded. `key_id` is None unless the secret was right.

    `workspace_id` is None where the token named nothing that exists and the caller is of no
    workspace. Texts are as they came; `recordable` makes them fit to be kept.
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

    @property
    def is_valid(self) -> bool:
        return self.code == VALID


def recordable(text: str | None, longest: int) -> str | None:
    """`text` fit to be kept: secrets taken out first, then control characters, then its length."""
    return None if text is None else without_controls(redact(text), longest)


def recordable_path(path: str | None) -> str | None:
    """A path fit to be kept. What follows `?` or `#` is not ours to keep: it may be anything."""
    if path is None:
        return None
    return recordable(path.partition("?")[0].partition("#")[0], LONGEST_PATH)
