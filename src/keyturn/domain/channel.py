"""The channel: where a workspace is told of events. A webhook, or e-mail to people.

1. A channel that is paused gathers what happens and sends it when it is active again. One that is
   disabled gathers nothing: it was given up on, and `reason` says why.
2. A webhook has one signing secret or two: a new one stands beside the old until that ends.
3. One that was deleted stays as an empty record, so that its id never means another.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

from keyturn.domain.error import Fault, RequestInvalid

MOST_ADDRESSES = 20
MOST_SECRETS = 2
MOST_CHANNELS = 50

# What RFC 5321 calls a mailbox, without the forms that nobody has: quoted parts, literal addresses.
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*"
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?",
    re.ASCII,
)
_LONGEST_ADDRESS = 254


class ChannelKind(StrEnum):
    WEBHOOK = "webhook"
    EMAIL = "email"


class ChannelState(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSecret:
    """A webhook's secret as it is kept, sealed. `ends_at` is None for the newest."""

    sealed: bytes = field(repr=False)
    created_at: int
    ends_at: int | None

    def is_live(self, now: int) -> bool:
        return self.ends_at is None or now < self.ends_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """The record of a channel. `since` is the number of the activity entry that it was made with:
    what happened before is not told to it."""

    id: UUID
    workspace_id: UUID
    kind: ChannelKind
    name: str
    url: str | None
    addresses: tuple[str, ...]
    to_owners: bool
    events: tuple[str, ...]
    state: ChannelState
    reason: str | None
    secrets: tuple[SigningSecret, ...]
    since: int
    created_at: int
    created_by: str
    updated_at: int
    version: int

    def live_secrets(self, now: int) -> tuple[SigningSecret, ...]:
        return tuple(one for one in self.secrets if one.is_live(now))

    def with_secret(self, sealed: bytes, overlap: int, now: int) -> "Channel":
        """With a new secret; the one before it signs along for `overlap` microseconds, and what was
        there besides ends now."""
        older = [
            replace(one, ends_at=now + overlap if one.ends_at is None else one.ends_at)
            for one in self.live_secrets(now)
        ][-1:]
        newest = SigningSecret(sealed=sealed, created_at=now, ends_at=None)
        secrets = (*(one for one in older if one.is_live(now)), newest)
        return self.becoming(replace(self, secrets=secrets), now)

    def disabled(self, reason: str, now: int) -> "Channel":
        return self.becoming(replace(self, state=ChannelState.DISABLED, reason=reason), now)

    def deleted(self, now: int) -> "Channel":
        """Without all that leads anywhere."""
        emptied = replace(
            self,
            state=ChannelState.DELETED,
            reason=None,
            url=None,
            addresses=(),
            to_owners=False,
            secrets=(),
        )
        return self.becoming(emptied, now)

    def becoming(self, following: "Channel", now: int) -> "Channel":
        """The next version of it; itself where nothing is another."""
        if following == self:
            return self
        return replace(following, updated_at=now, version=self.version + 1)


def is_address(text: str) -> bool:
    """Whether mail can be sent to it: nothing in it can end a line or begin another header."""
    return len(text) <= _LONGEST_ADDRESS and _ADDRESS.fullmatch(text) is not None


def check_addresses(addresses: Sequence[str], pointer: str = "/addresses") -> tuple[str, ...]:
    """The addresses, each once, in order. Raises `RequestInvalid` naming each that is none."""
    if len(addresses) > MOST_ADDRESSES:
        raise RequestInvalid.at(pointer, f"There may be at most {MOST_ADDRESSES} addresses.")
    detail = "This is an e-mail address like `ops@example.com`."
    faults = tuple(
        Fault(pointer=f"{pointer}/{index}", detail=detail)
        for index, one in enumerate(addresses)
        if not is_address(one)
    )
    if faults:
        raise RequestInvalid(detail, faults)
    return tuple(dict.fromkeys(addresses))
