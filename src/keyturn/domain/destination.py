"""The destination: a place outside where a workspace's new tokens are delivered, by its own right.

1. A destination belongs to one workspace and acts with a credential of its own.
2. It is used only while it is proven: a mark with a nonce of ours was written there, read back, and
   no other destination had marked the place before. Whatever changes its address or its credential
   takes the proof away.
3. One that was removed stays as a record without its credential; its name is free again.
"""

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from keyturn.domain.error import RequestInvalid

# What a destination may be, as its draft spells it; a test holds it against what is installed.
KINDS = ("aws", "azure", "command", "file", "gcp", "kubernetes", "vault")
MOST_OF_A_SLOT = 8
MOST_OF_A_WORKSPACE = 100
MOST_CONFIG_BYTES = 16_384
MOST_CREDENTIAL_BYTES = 16_384

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_MARK = re.compile(r"keyturn-destination (\S+) of (\S+) nonce ([0-9a-f]{32})", re.ASCII)


class DestinationState(StrEnum):
    UNPROVEN = "unproven"
    PROVEN = "proven"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """The record. `config` is canonical JSON text, `credential` is sealed, None once removed.
    `fault` says why the last attempt to prove it failed."""

    id: UUID
    workspace_id: UUID
    name: str
    kind: str
    config: str
    credential: bytes | None = field(repr=False)
    nonce: str
    state: DestinationState
    proven_at: int | None
    fault: str | None
    created_at: int
    created_by: str
    updated_at: int
    version: int

    @property
    def is_proven(self) -> bool:
        return self.state is DestinationState.PROVEN

    @property
    def mark(self) -> str:
        """What is written at the place to say whose it is."""
        return f"keyturn-destination {self.id} of {self.workspace_id} nonce {self.nonce}"

    def proved(self, now: int) -> "Destination":
        return self._changed(now, state=DestinationState.PROVEN, proven_at=now, fault=None)

    def disproved(self, fault: str, now: int) -> "Destination":
        """Not proven, and why."""
        return self._changed(now, state=DestinationState.UNPROVEN, proven_at=None, fault=fault)

    def changed(self, *, config: str, credential: bytes, nonce: str, now: int) -> "Destination":
        """With another configuration or credential, to be proven anew."""
        return self._changed(
            now,
            config=config,
            credential=credential,
            nonce=nonce,
            state=DestinationState.UNPROVEN,
            proven_at=None,
            fault=None,
        )

    def removed(self, now: int) -> "Destination":
        return self._changed(
            now, state=DestinationState.REMOVED, proven_at=None, credential=None, fault=None
        )

    def _changed(self, now: int, **members: Any) -> "Destination":
        return replace(self, **members, updated_at=now, version=self.version + 1)


def marked_by(value: str) -> UUID | None:
    """The destination that has marked a place, None where what stands there is no mark."""
    match = _MARK.fullmatch(value.strip())
    if match is None:
        return None
    try:
        return UUID(match[1])
    except ValueError:
        return None


def check_destination_name(name: str, pointer: str = "/name") -> str:
    """Raises `RequestInvalid` unless a destination can be called so."""
    if _NAME.fullmatch(name) is None:
        raise RequestInvalid.at(
            pointer, "A destination's name has 1 to 63 of a-z, 0-9 and -, with no - at its ends."
        )
    return name


def check_destination_names(names: tuple[str, ...], pointer: str) -> tuple[str, ...]:
    """Raises `RequestInvalid` unless a slot's tokens can be delivered to these."""
    if len(names) > MOST_OF_A_SLOT:
        raise RequestInvalid.at(pointer, f"There may be at most {MOST_OF_A_SLOT} destinations.")
    if len(set(names)) != len(names):
        raise RequestInvalid.at(pointer, "Each destination is named once.")
    for index, name in enumerate(names):
        check_destination_name(name, f"{pointer}/{index}")
    return names
