"""What a report reads: whole hours from the traffic, the others to the microsecond."""

import random
from collections import Counter
from collections.abc import Callable
from uuid import UUID

import pytest

from keyturn.domain.incident import Containment, IncidentReason
from keyturn.domain.instant import DAY, SECOND
from keyturn.domain.request import Request
from keyturn.domain.slot import ExpectedRuntime, SlotName, SlotNotes
from keyturn.domain.traffic import HOUR, MOST_VALUES, hour_of
from keyturn.services.amend import KeyAmendment, amend_key
from keyturn.services.chronicle import MOST_OF_ONE
from keyturn.services.define import define_slot
from keyturn.services.report import Report, report_incident
from keyturn.services.respond import Exposure, open_incident
from keyturn.services.select import Named
from keyturn.testing.storage import making
from tests.houses import House

SLOT = SlotName(service="worker", environment="prod")
OURS: dict[str, object] = {"ip": "10.1.0.7", "runtime": "worker"}
THIEF: dict[str, object] = {"ip": "198.51.100.23", "runtime": "ua:curl", "declared": False}


def bot(number: int) -> dict[str, object]:
    ip = f"10.0.{number // 250}.{number % 250}"
    return {"runtime": "ua:bot", "declared": False, "ip": ip}


def leak(house: House, since: int | None, *ids: UUID) -> Callable[[], Report]:
    exposure = Exposure(
        reason=IncidentReason.LEAKED,
        detail=None,
        found_url=None,
        exposed_since=since,
        containment=Containment.REVOKE,
    )
    opened = open_incident(
        house.context,
        house.act(),
        house.workspace_id,
        exposure,
        Named(ids=ids),
        house.clock.now(),
    )
    incident_id = opened.judged.incident.id
    return lambda: report_incident(
        house.context, house.operator, house.workspace_id, incident_id, None
    )


class Past:
    """Records requests of a key at any time."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.number = 0
        self.made: list[Request] = []

    def add(self, key_id: UUID, at: int, **members: object) -> None:
        self.number += 1
        self.made.append(
            making.request(
                at,
                key_id=key_id,
                workspace_id=self.house.workspace_id,
                request_id=f"request-{self.number}",
                **members,  # type: ignore[arg-type]
            )
        )

    def keep(self) -> list[Request]:
        made = self.made
        making.record(self.house.store, *made, first=self.number)
        self.number += len(made)
        self.made = []
        return made


def furnish(house: House, days: int = 40) -> UUID:
    """A key that was made so long ago, in a slot that names its runtime."""
    house.clock.jump(-days * DAY)
    key_id = house.issue(slot=str(SLOT)).token.id
    notes = SlotNotes(runtimes=(ExpectedRuntime(name="worker", max_call_interval_seconds=60),))
    define_slot(house.context, house.act(), house.workspace_id, SLOT, notes)
    house.clock.jump(days * DAY)
    return key_id


@pytest.mark.parametrize("seed", range(8))
def test_a_report_counts_as_the_requests_do_wherever_the_window_lies(
    house: House, seed: int
) -> None:
    chance = random.Random(seed)
    key_id, past = furnish(house), Past(house)
    end = house.clock.now()
    since = end - chance.randrange(1, 10 * DAY)
    for _ in range(300):
        at = end - chance.randrange(20 * DAY)
        if chance.random() < 0.3:  # close to the edges
            at = since + chance.randrange(-HOUR, HOUR) // chance.choice([1, 60, 3_600_000])
        who = chance.choice([OURS, OURS, THIEF])
        past.add(key_id, min(at, end), path=f"/{chance.randrange(9)}", **who)
    made = past.keep()
    take = leak(house, since, key_id)
    house.clock.advance(chance.randrange(5) * HOUR + 1)
    for _ in range(chance.randrange(20)):
        past.add(key_id, chance.randrange(end, house.clock.now() + 1), code="revoked", **THIEF)
    late = past.keep()
    report = take()

    window = [one for one in made if since <= one.at < end]
    after = [one for one in (*made, *late) if one.at >= end]
    totals = report.radius.totals
    assert (totals.requests, totals.after_containment) == (len(window) + len(after), len(after))
    wanted = Counter((one.runtime.name, str(one.address)) for one in (*window, *after))
    assert {
        (one.caller.runtime, one.caller.network): one.count.requests
        for one in report.radius.runtimes
    } == wanted
    thief = sorted(
        (one.at, one.request_id) for one in (*window, *after) if one.runtime.name == "ua:curl"
    )
    assert sorted((one.at, one.request_id) for one in report.requests) == thief
    assert report.requests_total == len(thief)


def test_an_hour_with_too_many_callers_is_counted_from_its_requests(house: House) -> None:
    key_id, past = furnish(house), Past(house)
    at = hour_of(house.clock.now() - 3 * DAY)
    for number in range(MOST_VALUES + 100):
        past.add(
            key_id,
            at + number,
            runtime="ua:bot",
            declared=False,
            ip=f"10.0.{number // 250}.{number % 250}",
        )
    past.add(key_id, at + HOUR, **OURS)
    past.keep()
    report = leak(house, None, key_id)()
    bots = [one for one in report.radius.runtimes if one.caller.runtime == "ua:bot"]
    assert len(bots) == MOST_VALUES + 100
    assert len(report.requests) == MOST_VALUES + 100
    assert not any("other" in gap for gap in report.gaps)


def test_where_requests_are_gone_the_sums_stand_and_it_is_said(house: House) -> None:
    key_id, past = furnish(house), Past(house)
    since = hour_of(house.clock.now() - 20 * DAY) + 30 * 60 * SECOND
    for number in range(10):
        past.add(key_id, since + number, **THIEF)
    for number in range(MOST_VALUES + 50):
        past.add(
            key_id,
            since + DAY,
            runtime="ua:bot",
            declared=False,
            ip=f"10.0.{number // 250}.{number % 250}",
        )
    past.keep()
    with house.store.record() as transaction:
        transaction.requests.purge(since + 2 * DAY, limit=10_000)
    report = leak(house, since, key_id)()
    assert report.radius.totals.allowed == MOST_VALUES + 60
    assert not report.is_complete
    told = " ".join(report.gaps)
    assert "counted as a whole" in told
    assert "stand together as `other`" in told
    assert report.requests_total == MOST_VALUES + 60
    assert report.requests == []


def test_a_gap_in_the_records_is_told(house: House) -> None:
    key_id = furnish(house)
    take = leak(house, None, key_id)
    assert any("on their way" in gap for gap in take().gaps)
    incident_id = take().incident.id
    report = report_incident(
        house.context, house.operator, house.workspace_id, incident_id, house.clock.now()
    )
    assert any("from a backup" in gap for gap in report.gaps)
    old = furnish(house, days=500)
    assert any("400 days" in gap for gap in leak(house, None, old)().gaps)


def test_a_network_keeps_the_name_that_it_had(house: House) -> None:
    """In the hours that are counted anew as in all others."""
    key_id, past = furnish(house), Past(house)
    since = house.clock.now() - 2 * DAY
    for at in (since + 1, since + DAY, house.clock.now() - 1):
        past.add(
            key_id, at, runtime="ua:curl", declared=False, ip="203.0.113.9", named_network="lab"
        )
    past.keep()
    report = leak(house, since, key_id)()
    assert [(one.caller.network, one.count.allowed) for one in report.radius.runtimes] == [
        ("lab", 3)
    ]
    assert [one.network for one in report.requests] == ["lab"] * 3


def test_many_keys_are_one_report(house: House) -> None:
    past, ids = Past(house), [furnish(house) for _ in range(60)]
    for number, key_id in enumerate(ids):
        for _ in range(3):
            past.add(key_id, house.clock.now() - (1 + number) * HOUR, **THIEF)
        past.add(key_id, house.clock.now() - DAY, **OURS)
    past.keep()
    report = leak(house, None, *ids)()
    [thief] = report.radius.not_ours
    assert (thief.count.allowed, len(thief.key_ids)) == (180, 60)
    assert len(report.requests) == 180
    assert report.radius.totals.allowed == 240


def test_a_thief_who_does_a_thing_often_hides_nothing_else_in_silence(house: House) -> None:
    admin = house.issue(name="admin-prod", permissions=("admin",)).token
    thief = house.caller(admin)
    for number in range(MOST_OF_ONE):
        amended = KeyAmendment(name=f"admin {number}")
        amend_key(house.context, house.act(thief), house.workspace_id, admin.id, amended)
        house.clock.advance(SECOND)
    # With its making, one entry more than is told.
    report = leak(house, None, admin.id)()
    assert not report.is_complete
    assert [one for one in report.gaps if f"keyturn activity list --actor {admin.id}" in one]


def test_a_timeline_that_tells_everything_is_no_gap(house: House) -> None:
    key_id = furnish(house)
    assert [one for one in leak(house, None, key_id)().gaps if "timeline" in one] == []
