"""The slot: a service in an environment, written `scheduler-prod`. Keys come and go in it."""

import re
from dataclasses import dataclass, replace
from typing import Self
from uuid import UUID

from keyturn.domain.destination import check_destination_names
from keyturn.domain.error import RequestInvalid
from keyturn.domain.runtime import check_runtime
from keyturn.domain.text import TEXT_LENGTH, check_text, check_url
from keyturn.domain.token import OPERATOR_ENVIRONMENT

KNOWN_ENVIRONMENTS = (
    "prod",
    "production",
    "staging",
    "stage",
    "dev",
    "development",
    "test",
    "qa",
    "ci",
    "preview",
    "sandbox",
    "local",
)
DEFAULT_ENVIRONMENT = "default"
SERVICE_LENGTH = 63
LONGEST_PERIOD_DAYS = 3_650
MOST_RUNTIMES = 256
LONGEST_CALL_INTERVAL_SECONDS = 10 * 366 * 86_400

_SERVICE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_ENVIRONMENT = re.compile(r"[a-z0-9]{1,16}", re.ASCII)
_OUTSIDE = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotName:
    """A service and an environment. The environment has no `-`, so the last one parts the two."""

    service: str
    environment: str

    def __str__(self) -> str:
        return f"{self.service}-{self.environment}"

    @property
    def is_drill(self) -> bool:
        """Whether `keyturn drill rotation` has made this slot, by the name that it gives."""
        return self.environment == DRILL_ENVIRONMENT and self.service.startswith("drill-")

    @classmethod
    def parse(cls, text: str) -> "SlotName | None":
        """The slot that `scheduler-prod` names, or None."""
        service, _, environment = text.rpartition("-")
        if _SERVICE.fullmatch(service) is None or _ENVIRONMENT.fullmatch(environment) is None:
            return None
        if environment == OPERATOR_ENVIRONMENT:
            return None
        return cls(service=service, environment=environment)


# What `keyturn drill rotation` makes has this environment, and a service of its own.
DRILL_ENVIRONMENT = "drill"

# The place of this slot in each destination has the mark that says whose the destination is.
RESERVED = SlotName(service="keyturn", environment="destination")


def make_slot_name(service: str, environment: str) -> SlotName:
    """The slot of a service and an environment. Raises `RequestInvalid` where one is no name."""
    if _SERVICE.fullmatch(service) is None:
        raise RequestInvalid.at(
            "/service",
            f"A service has 1 to {SERVICE_LENGTH} of a-z, 0-9 and -, with no - at its ends.",
        )
    if _ENVIRONMENT.fullmatch(environment) is None:
        raise RequestInvalid.at("/environment", "An environment has 1 to 16 of a-z and 0-9.")
    if environment == OPERATOR_ENVIRONMENT:
        raise RequestInvalid.at("/environment", "This environment is reserved for operators.")
    name = SlotName(service=service, environment=environment)
    if name == RESERVED:
        raise RequestInvalid.at("/service", f"The slot {name} is reserved.")
    return name


def infer_slot_name(name: str, environments: frozenset[str]) -> SlotName:
    """The slot that a key's name tells: `scheduler-prod` is service scheduler, environment prod.

    The last part after `-` is the environment if it is one of the known `environments`; else the
    whole is the service and the environment is `default`. Raises `RequestInvalid` where nothing is
    left for a service.
    """
    rest, dash, last = name.lower().rpartition("-")
    known = bool(dash) and last in environments
    spelled = rest if known else name.lower()
    service = _OUTSIDE.sub("-", spelled).strip("-")[:SERVICE_LENGTH].strip("-")
    if not service:
        raise RequestInvalid.at(
            "/name", "No service can be read from this name; give `service` and `environment`."
        )
    return make_slot_name(service, last if known else DEFAULT_ENVIRONMENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedRuntime:
    """A workload that is expected to use the slot's keys, and how rarely it may call."""

    name: str
    max_call_interval_seconds: int | None


def check_expected(
    runtimes: tuple[ExpectedRuntime, ...], pointer: str = "/runtimes"
) -> tuple[ExpectedRuntime, ...]:
    """Raises `RequestInvalid` unless a slot can expect these."""
    if len(runtimes) > MOST_RUNTIMES:
        raise RequestInvalid.at(pointer, f"There may be at most {MOST_RUNTIMES} runtimes.")
    if len({one.name for one in runtimes}) != len(runtimes):
        raise RequestInvalid.at(pointer, "Each runtime is named once.")
    for index, one in enumerate(runtimes):
        check_runtime(one.name, f"{pointer}/{index}/name")
    return runtimes


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotNotes:
    """What people say of a slot. None means that nothing is said. `destinations` are names."""

    owner: str | None = None
    purpose: str | None = None
    runbook_url: str | None = None
    rotation_period_days: int | None = None
    runtimes: tuple[ExpectedRuntime, ...] | None = None
    destinations: tuple[str, ...] | None = None

    def checked(self) -> Self:
        """These notes with texts stripped. Raises `RequestInvalid` where one cannot be kept."""
        period = self.rotation_period_days
        if period is not None and not 1 <= period <= LONGEST_PERIOD_DAYS:
            raise RequestInvalid.at(
                "/rotation_period_days", f"This is 1 to {LONGEST_PERIOD_DAYS} days."
            )
        if self.destinations is not None:
            check_destination_names(self.destinations, "/destinations")
        return replace(
            self,
            owner=None if self.owner is None else check_text(self.owner, "/owner"),
            purpose=None
            if self.purpose is None
            else check_text(self.purpose, "/purpose", longest=TEXT_LENGTH),
            runbook_url=None
            if self.runbook_url is None
            else check_url(self.runbook_url, "/runbook_url"),
        )

    @property
    def is_empty(self) -> bool:
        return self == NOTHING_NOTED


NOTHING_NOTED = SlotNotes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The record of a slot in a workspace."""

    workspace_id: UUID
    name: SlotName
    notes: SlotNotes
    created_at: int
    updated_at: int
    version: int

    def noted(self, notes: SlotNotes, now: int) -> "Slot":
        """This slot with the given notes laid over its own; None leaves a note as it is."""
        mine = self.notes
        merged = SlotNotes(
            owner=mine.owner if notes.owner is None else notes.owner,
            purpose=mine.purpose if notes.purpose is None else notes.purpose,
            runbook_url=mine.runbook_url if notes.runbook_url is None else notes.runbook_url,
            rotation_period_days=mine.rotation_period_days
            if notes.rotation_period_days is None
            else notes.rotation_period_days,
            runtimes=mine.runtimes if notes.runtimes is None else notes.runtimes,
            destinations=mine.destinations if notes.destinations is None else notes.destinations,
        )
        return self.replaced(merged, now)

    def replaced(self, notes: SlotNotes, now: int) -> "Slot":
        """This slot with exactly the given notes."""
        if notes == self.notes:
            return self
        return replace(self, notes=notes, updated_at=now, version=self.version + 1)
