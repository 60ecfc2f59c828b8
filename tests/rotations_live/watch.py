"""Looks at the tables again and again while callers call: S1 to S4 hold at every look.

S1: of the keys that a caller holds, one works, but for a brown-out. S2: each slot has a live key.
S3: it has at most two. S4: at most one of its rotations is open.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.kills.sites import MortalPlace
from tests.rotations_live.figures import Figures

LOOK_SECONDS = 0.25
OPEN = ("overlapping", "brownout")

# One statement, so that what it tells is of one moment.
_LOOK = """
    SELECT 'key', id, service, status, 0 FROM keys
        WHERE workspace_id = ? AND status <> 'revoked' AND substr(service, 1, 3) = 'svc'
    UNION ALL
    SELECT 'rotation', id, service, state, lifts FROM rotations WHERE workspace_id = ?
"""


@dataclass(frozen=True, slots=True)
class Sight:
    """The tables at one moment: keys by id with service and status, rotations by id with state and
    lifts."""

    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    rotations: dict[str, tuple[str, str, int]] = field(default_factory=dict)


class Watcher(threading.Thread):
    """`holding` tells which caller holds which key, and in which service."""

    def __init__(
        self,
        place: MortalPlace,
        workspace_id: str,
        holding: Callable[[], list[tuple[str, str, str]]],
        figures: Figures,
    ) -> None:
        super().__init__(name="watcher", daemon=True)
        self.sight = Sight()
        self.over = threading.Event()
        self._place = place
        self._workspace_id = workspace_id
        self._holding = holding
        self._figures = figures
        self._told: set[str] = set()

    def run(self) -> None:
        while not self.over.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001  (a watcher that dies would see nothing)
                self._tell(f"the watcher: {error!r}")

    def look(self) -> None:
        held = self._holding()
        with self._place.database() as ask:
            rows = ask(_LOOK, self._workspace_id, self._workspace_id)
        keys = {row[1]: (row[2], row[3]) for row in rows if row[0] == "key"}
        rotations = {row[1]: (row[2], row[3], row[4]) for row in rows if row[0] == "rotation"}
        self.sight = Sight(keys, rotations)
        self._figures.looks += 1
        self._judge_slots(self.sight)
        self._judge_callers(self.sight, held)

    def _judge_slots(self, sight: Sight) -> None:
        live: dict[str, list[str]] = defaultdict(list)
        for service, status in sight.keys.values():
            live[service].append(status)
        for service, statuses in live.items():
            if "active" not in statuses:
                self._tell(f"S2: {service} has no live key")
            if len(statuses) > 2:
                self._tell(f"S3: {service} has {len(statuses)} live keys")
        ended = {service for service, _, _ in sight.rotations.values()} - live.keys()
        for service in ended:
            self._tell(f"S2: {service} has no key")
        counts = Counter(service for service, state, _ in sight.rotations.values() if state in OPEN)
        for service, count in counts.items():
            if count > 1:
                self._tell(f"S4: {service} has {count} open rotations")

    def _judge_callers(self, sight: Sight, held: list[tuple[str, str, str]]) -> None:
        browned = {service for service, state, _ in sight.rotations.values() if state == "brownout"}
        for caller, service, key_id in held:
            _, status = sight.keys.get(key_id, (service, "revoked"))
            if status == "revoked":
                if self._tell(f"S1: {caller} holds only {key_id}, which was retired"):
                    self._figures.retired_early += 1
            elif status != "active" and service not in browned:
                self._tell(f"S1: {caller} holds only {key_id}, which is {status}")

    def _tell(self, fault: str) -> bool:
        """Notes a fault once; says whether it is a new one."""
        if fault in self._told:
            return False
        self._told.add(fault)
        self._figures.faults.append(fault)
        return True
