"""Unusual use is told once, with its evidence, and goes by itself; a steady key is left alone."""

import json
from collections.abc import Iterator
from itertools import count
from uuid import UUID

import pytest

from keyturn.domain.detectors import BLIND_SPOTS
from keyturn.domain.finding import Finding, FindingKind, FindingState
from keyturn.domain.instant import DAY, SECOND
from keyturn.domain.key import RevocationReason
from keyturn.domain.network import parse_address
from keyturn.domain.request import Request
from keyturn.domain.runtime import Runtime
from keyturn.domain.traffic import HOUR
from keyturn.services.detect import MOST_WEIGHT, DetectorWatch
from keyturn.services.find import acknowledge_finding
from keyturn.services.meter import Meter
from keyturn.services.revoke import revoke_key
from keyturn.storage.findings import FindingFilter
from tests.houses import House

HERE, THERE = "198.51.100.7", "203.0.113.9"
PAST_DAYS = 30


class Eye:
    """A house whose requests are kept, and looked over."""

    def __init__(self, house: House, most_weight: int = MOST_WEIGHT) -> None:
        self.house = house
        self.meter = Meter(house.context)
        self.watch = DetectorWatch(house.context, self.meter, most_weight)
        self._numbers: Iterator[int] = count()

    def use(self, key_id: UUID, at: int | None = None, **members: object) -> None:
        plain: dict[str, object] = {
            "at": self.house.clock.now() if at is None else at,
            "request_id": f"r{next(self._numbers)}",
            "workspace_id": self.house.workspace_id,
            "key_id": key_id,
            "code": "valid",
            "runtime": Runtime("worker", declared=True),
            "address": parse_address(HERE),
            "user_agent": "acme/1.0",
            "method": "GET",
            "path": "/pins",
            "scopes": ("read",),
            "environment": None,
        }
        self.meter.note(Request(**(plain | members)))  # type: ignore[arg-type]

    def live(self, key_id: UUID, days: int = PAST_DAYS) -> None:
        """A steady past: by day, each day, until now."""
        now = self.house.clock.now()
        for hour in range((now - days * DAY) // HOUR * HOUR, now - HOUR, HOUR):
            if 8 <= hour // HOUR % 24 < 18:
                for second in range(5):
                    self.use(key_id, hour + second * SECOND)
        self.meter.flush()

    def look(self) -> list[Finding]:
        """Keeps what was noted, looks, and gives what is unresolved about how keys are used."""
        self.meter.flush()
        self.watch.step()
        while self.watch.is_behind:
            self.watch.step()
        with self.house.store.read() as reading:
            found = reading.findings.unresolved_of(self.house.workspace_id, tuple(BLIND_SPOTS))
        return list(found)

    def later(self, micros: int) -> None:
        self.house.clock.advance(micros)

    def settled(self) -> list[Finding]:
        """What is unresolved once all that is told of was looked at again."""
        self.later(601 * SECOND)
        return self.look()


@pytest.fixture
def eye(house: House) -> Eye:
    return Eye(house)


def kinds(found: list[Finding]) -> list[str]:
    return sorted(one.kind.value for one in found)


def key_of(eye: Eye) -> UUID:
    key_id = eye.house.issue().view.key.id
    eye.later(2 * DAY)
    return key_id


def test_a_steady_key_is_left_alone(eye: Eye) -> None:
    key_id = key_of(eye)
    eye.live(key_id)
    for _ in range(24):
        eye.use(key_id) if 8 <= eye.house.clock.now() // HOUR % 24 < 18 else None
        assert eye.look() == []
        eye.later(HOUR)


def test_a_new_network_is_told_with_its_evidence_and_belongs_to_the_usual_later(eye: Eye) -> None:
    key_id = key_of(eye)
    eye.live(key_id)
    eye.use(key_id, address=parse_address(THERE))
    (found,) = (one for one in eye.look() if one.kind is FindingKind.NEW_NETWORK)
    evidence = json.loads(found.evidence)
    assert evidence["network"] == "203.0.0.0/16"
    assert evidence["baseline"]["days"] == PAST_DAYS
    assert evidence["baseline"]["calls"] == pytest.approx(PAST_DAYS * 50, abs=100)
    assert evidence["certainty"] == "high"
    assert evidence["blind_spot"] == BLIND_SPOTS[FindingKind.NEW_NETWORK]
    assert {"what", "since", "next_step"} <= set(evidence)
    acknowledge_finding(
        eye.house.context, eye.house.act(), eye.house.workspace_id, found.id, "moved"
    )
    for _ in range(13):
        eye.later(DAY)
        eye.use(key_id, address=parse_address(THERE))
        known = [one for one in eye.look() if one.kind is FindingKind.NEW_NETWORK]
        assert [(one.id, one.state) for one in known] == [(found.id, FindingState.ACKNOWLEDGED)]
    eye.later(2 * DAY)
    eye.use(key_id, address=parse_address(THERE))
    assert FindingKind.NEW_NETWORK not in {one.kind for one in eye.look()}


def test_nothing_is_new_to_a_key_that_is_too_young(eye: Eye) -> None:
    key_id = key_of(eye)
    eye.live(key_id, days=5)
    eye.use(key_id, address=parse_address(THERE), path="/other", scopes=("admin",))
    assert eye.look() == []


def test_what_is_new_is_told_of_a_few_and_of_the_rest_together(eye: Eye) -> None:
    key_id = key_of(eye)
    eye.live(key_id)
    for number in range(40):
        eye.use(key_id, path=f"/{'abcdefgh'[number % 8]}{'xyzvw'[number // 8]}")
    found = [one for one in eye.look() if one.kind is FindingKind.NEW_PATH]
    assert len(found) == 4
    assert [json.loads(one.evidence)["count"] for one in found if one.mark == "+"] == [37]


def test_a_browser_is_told_of_at_once_and_until_it_is_not_seen_any_more(eye: Eye) -> None:
    key_id = key_of(eye)
    eye.use(key_id, browser="sec-fetch")
    assert kinds(eye.look()) == ["usage.browser"]
    eye.later(13 * DAY)
    assert kinds(eye.look()) == ["usage.browser"]
    eye.later(2 * DAY)
    assert eye.look() == []


def test_a_revoked_key_that_is_used_is_told_of(eye: Eye) -> None:
    key_id = key_of(eye)
    eye.use(key_id)
    context, act, home = eye.house.context, eye.house.act(), eye.house.workspace_id
    revoke_key(context, act, home, key_id, RevocationReason.COMPROMISED)
    assert eye.look() == []
    eye.later(SECOND)
    eye.use(key_id, code="revoked")
    (found,) = eye.look()
    assert (found.kind, found.severity.value) == (FindingKind.AFTER_REVOCATION, "critical")


def test_a_process_that_starts_again_tells_the_same_and_nothing_twice(eye: Eye) -> None:
    key_id = key_of(eye)
    eye.live(key_id)
    eye.use(key_id, address=parse_address(THERE), browser="origin")
    before = [(one.id, one.version) for one in eye.look()]
    assert before
    again = Eye(eye.house)
    assert [(one.id, one.version) for one in again.look()] == before


def test_where_nothing_happened_nothing_is_written(eye: Eye) -> None:
    key_id = key_of(eye)
    eye.use(key_id, browser="origin")
    eye.look()
    position = eye.house.position()
    for _ in range(5):
        eye.later(5 * SECOND)
        assert eye.watch.step() == 0
    assert eye.house.position() == position


def test_all_that_ever_was_is_bounded(eye: Eye) -> None:
    key_id = key_of(eye)
    eye.live(key_id)
    for day in range(20):
        for number in range(10):
            eye.use(
                key_id,
                address=parse_address(f"{20 + day}.{number}.0.1"),
                path=f"/p{'abcdefghijklmnopqrst'[day]}{'abcdefghij'[number]}",
                runtime=Runtime(f"r{'abcdefghijklmnopqrst'[day]}", declared=True),
            )
        eye.look()
        eye.later(DAY)
    with eye.house.store.read() as reading:
        ever = reading.findings.list(
            eye.house.workspace_id,
            FindingFilter(kinds=tuple(BLIND_SPOTS)),
            limit=1_000,
            before=None,
        )
    assert 0 < len(ever) <= 40


def test_a_key_with_made_up_values_takes_nobody_elses_room(house: House) -> None:
    eye = Eye(house, most_weight=200)
    good, bad = house.issue(name="good-prod").token.id, house.issue(name="bad-prod").token.id
    now = house.clock.now()
    for hour in range(5):
        eye.use(good, now - (hour + 2) * HOUR)
    for number in range(250):
        at = now - 3 * HOUR
        eye.use(bad, at, path=f"/made-up-{number}", runtime=Runtime(f"made-up{number}x", True))
    eye.look()
    assert list(eye.watch._known) == [good]
    assert eye.watch._weight == eye.watch._known[good].weight <= 200
    eye.use(bad, now - 1)
    eye.look()
    assert list(eye.watch._known) == [good]
