"""What clients remember of a storm, and whether the database agrees with every one of them.

Each call has a request id of its own, which stands in the entry of the activity log that the call
made. So the history of each key can be held against the journals, call by call: an answered change
has exactly one entry in the version that was answered, an unanswered one at most one, a refused one
none; nothing else stands there; and the entries, one after the other, lead to the key as it is.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tests.kills.figures import Figures
from tests.kills.ledger import Ledger, Row


class Outcome(Enum):
    DONE = "answered"
    REFUSED = "refused: nothing has changed"
    UNKNOWN = "unanswered"


@dataclass(slots=True, kw_only=True)
class Step:
    """One changing call: what it was to do to a key. `ids` are its request ids, several where it
    was repeated with one idempotency key; `version` the one that was answered, if it was told."""

    verb: str
    ids: list[str]
    outcome: Outcome
    version: int | None = None
    scopes: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class History:
    """One key as its only client knows it. `token` is None where its answer was lost."""

    key_id: str
    token: str | None = field(repr=False)
    steps: list[Step] = field(default_factory=list)


_ACTIONS = {
    "create": "api_key.created",
    "patch": "api_key.updated",
    "suspend": "api_key.suspended",
    "resume": "api_key.resumed",
    "revoke": "api_key.revoked",
}
_STATUS = {"suspend": "suspended", "resume": "active", "revoke": "revoked"}


@dataclass(slots=True)
class State:
    """A key as the log tells of it."""

    status: str = "active"
    scopes: list[str] = field(default_factory=list)
    version: int = 0

    def after(self, step: Step) -> "State":
        scopes = step.scopes if step.verb in ("create", "patch") else self.scopes
        return State(_STATUS.get(step.verb, self.status), scopes, self.version + 1)


def hold(histories: Iterable[History], ledger: Ledger, figures: Figures) -> dict[str, State]:
    """Holds all journals against the log; notes what is lost or half. Gives each key's state."""
    told = ledger.entries("api_key")
    rows = {row["id"]: row for row in ledger.rows("keys")}
    states = {}
    for history in histories:
        states[history.key_id] = _hold_one(history, told[history.key_id], figures)
        row = rows.get(history.key_id)
        if row is None:
            _note(figures, history, "its row is not there", lost=True)
            continue
        state = states[history.key_id]
        if (row["status"], row["version"]) != (state.status, state.version):
            _note(figures, history, f"the row is not as the log tells: {row['version']}", half=True)
    return states


def _hold_one(history: History, entries: list[Row], figures: Figures) -> State:
    by_id: dict[str, list[Row]] = defaultdict(list)
    for entry in entries:
        by_id[entry["request_id"]].append(entry)
    state = State()
    for step in history.steps:
        found = [entry for id_ in step.ids for entry in by_id.pop(id_, [])]
        fault = _fault(step, found, state)
        if fault is not None:
            _note(figures, history, fault, lost=not found, half=bool(found))
        if found:
            state = state.after(step)
        if step.outcome is Outcome.DONE:
            figures.answered += 1
        elif step.outcome is Outcome.UNKNOWN:
            figures.unanswered += 1
    for stranger in by_id:
        _note(figures, history, f"nobody asked for {stranger}", half=True)
    return state


def _fault(step: Step, found: list[Row], state: State) -> str | None:
    allowed: dict[Outcome, Any] = {
        Outcome.DONE: (1,),
        Outcome.REFUSED: (0,),
        Outcome.UNKNOWN: (0, 1),
    }
    if len(found) not in allowed[step.outcome]:
        return f"{step.verb} was {step.outcome.value} and is in the log {len(found)} times"
    for entry in found:
        version = state.version + 1 if step.version is None else step.version
        expected = (_ACTIONS[step.verb], version, state.version + 1)
        if (entry["action"], entry["resource_version"], entry["resource_version"]) != expected:
            return f"{step.verb}: {entry['action']} in version {entry['resource_version']}"
    return None


def _note(
    figures: Figures, history: History, fault: str, *, lost: bool = False, half: bool = False
) -> None:
    figures.lost += lost
    figures.half += half
    figures.faults.append(f"key {history.key_id}: {fault}")
