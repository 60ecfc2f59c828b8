"""What Keyturn asks of a place that keeps tokens. `keyturn.testing.destinations` is its suite.

1. A place holds one value, or none. `read` gives what it holds *now*, asked of the place itself and
   never remembered, with the version that the place gives it.
2. `write` puts a value only where the version that was read still stands (compare and set); where
   another does, it raises a `CONFLICT` and has changed nothing. Where a place cannot compare, it
   reads once more right before it writes, and says so in its docstring.
3. What else the place holds beside the value (other fields of a secret) stays.
4. A value that was written is whole or not there: nobody reads half of it.
5. A fault is told by kind, with one plain sentence that holds no secret and nothing that the other
   side has said. After a fault of `write` the value may be there or not: who calls reads.
6. A destination acts with its own credential and for one workspace. It follows nothing that is not
   its own: no redirect, no symbolic link, no credential of the machine that it runs on.
7. Every call ends within its time: `SECONDS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from keyturn.domain.slot import SlotName

SECONDS = 10.0


class FaultKind(StrEnum):
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    ADDRESS_REFUSED = "address_refused"  # our guard: the operator has not allowed this network
    DENIED = "denied"  # the credential does not reach that far, or no longer
    MISSING = "missing"  # what must be there before: a mount, a namespace, a folder, a program
    CONFLICT = "conflict"  # somebody else wrote meanwhile
    NOT_UNDERSTOOD = "not_understood"  # an answer that is none of this kind of place
    BROKEN = "broken"  # it answered that it failed


class DestinationFault(Exception):
    """Why a place could not be read or written."""

    def __init__(self, kind: FaultKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a place holds. The value does not show itself; `version` is the place's own word."""

    value: str = field(repr=False)
    version: str


class Destination(Protocol):
    """One opened destination; used by one thread at a time."""

    def read(self, slot: SlotName) -> Held | None:
        """What stands in the slot's place, None for nothing. Raises `DestinationFault`."""
        ...

    def write(self, slot: SlotName, value: str, expected: str | None) -> str:
        """Puts the value where version `expected` stands (None: nothing), and gives the version
        that it has then. Raises `DestinationFault`."""
        ...

    def locate(self, slot: SlotName) -> str:
        """Where that is, as a person would name it: `secret/keyturn/scheduler-prod#api_key`."""
        ...

    def close(self) -> None: ...


class ConfigurationFault(Exception):
    """What is wrong with a destination's configuration: a JSON pointer below it, and what."""

    def __init__(self, *faults: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{pointer}: {detail}" for pointer, detail in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a destination is opened with. `config` is what `check` gave; the credential does not
    show itself."""

    workspace_id: UUID
    destination_id: UUID
    config: Mapping[str, object]
    credential: Mapping[str, str] = field(repr=False)


class DestinationKind(Protocol):
    """A kind of secrets manager: `vault`, `aws`, `kubernetes`, `gcp`, `azure`, `file`, `command`.

    Made once a process, by the composition root, with what it needs (the way out, a folder).
    """

    @property
    def name(self) -> str: ...

    @property
    def about(self) -> str:
        """What it is, in one line for people: `HashiCorp Vault or OpenBao, KV version 2`."""
        ...

    def check(
        self, config: Mapping[str, object], credential: Mapping[str, str]
    ) -> Mapping[str, object]:
        """The configuration in its one spelling, defaults filled in, of JSON values. Pointers are
        `/config/…` and `/credential/…`. Does no I/O. Raises `ConfigurationFault` with every
        fault."""
        ...

    def open(self, opening: Opening) -> Destination:
        """Raises `DestinationFault` where what it needs is not there (a library, a program)."""
        ...
