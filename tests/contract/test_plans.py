"""Each hot query goes by an index on both engines, and never reads a whole table."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from keyturn.domain.error import IntegrityFailed
from keyturn.domain.finding import FindingKind
from keyturn.domain.incident import IncidentState
from keyturn.domain.key import KeyStatus
from keyturn.domain.message import MessageState
from keyturn.domain.slot import SlotName
from keyturn.domain.traffic import Caller
from keyturn.storage.activity import ActivityFilter
from keyturn.storage.contract import Store
from keyturn.storage.credentials import (
    POSITION_STATEMENT,
    fill_statement,
    key_statement,
    operator_statement,
)
from keyturn.storage.deliveries import DeliveryFilter
from keyturn.storage.findings import FindingFilter
from keyturn.storage.idempotency import IdempotencyScope
from keyturn.storage.incidents import IncidentFilter
from keyturn.storage.keys import KeyFilter
from keyturn.storage.messages import MessageFilter
from keyturn.storage.nodes import REPORT, report_values
from keyturn.storage.requests import RequestFilter
from keyturn.storage.rotations import RotationFilter
from keyturn.storage.sealed import Damage
from keyturn.storage.steps import LAST, LOOK
from keyturn.storage.transaction import Reading
from keyturn.testing.ambience import SOME_TIME
from keyturn.testing.storage import making
from keyturn.testing.storage.clustering import report_of
from tests.houses import Ground, Plots, Raw

# An installation of a few tenants with a few thousand rows each. `@` is a number of 12 digits.
ID = "'01900000-0000-7000-8000-' || @"
TENANTS, KEYS, REQUESTS, ENTRIES = 40, 6_000, 12_000, 12_000
TABLES = {
    "workspaces": (
        4_000,
        (
            f"{ID}, 'acme', 'active', '[]', {SOME_TIME}, {SOME_TIME}, 1,"
            " CAST('' AS BYTES), NULL, NULL, NULL, NULL, NULL, NULL"
        ),
    ),
    "operators": (
        4_000,
        (f"{ID}, 'op', 'operator', CAST('' AS BYTES), '1', 1, NULL, NULL, 1, 1, CAST('' AS BYTES)"),
    ),
    "slots": (
        4_000,
        (
            "'01900000-0000-7000-8000-' || TENANT, 'service' || @, 'prod', 'owner' || (i % 50),"
            " NULL, NULL, NULL, NULL, i, i, 1, CAST('' AS BYTES), NULL"
        ),
    ),
    "keys": (
        KEYS,
        (
            f"{ID}, '01900000-0000-7000-8000-' || TENANT, 'service' || (100000000000 + i % 4000),"
            " 'prod', 'kt', 'key', '[]', '[]', '[]', '{}',"
            " CASE WHEN i % 5 = 0 THEN 'revoked' WHEN i % 7 = 0 THEN 'suspended' ELSE 'active' END,"
            " 0, CAST('' AS BYTES), '1', i, '01900000-0000-7000-8000-' || (100000000000 + i % 300),"
            " NULL, NULL, NULL, i, CASE WHEN i % 5 = 0 THEN i END,"
            " CASE WHEN i % 5 = 0 THEN 'other' END, 1, CAST('' AS BYTES)"
        ),
    ),
    "key_usage": (KEYS, f"{ID}, i, 1, 1"),
    "uses": (KEYS, f"{ID}, 'worker', 1, 'prod', 'eu', i, i, NULL, NULL, NULL, 1, 1"),
    # Every eighth is open, and every hundredth of the findings.
    "rotations": (
        KEYS,
        (
            f"{ID}, '01900000-0000-7000-8000-' || TENANT, 'service' || @, 'prod', {ID},"
            " '01900000-0000-7000-8000-' || (200000000000 + i),"
            " CASE WHEN i % 8 = 7 THEN 'overlapping' ELSE 'completed' END, 1, 1, 1, 1, i, 'op', i,"
            " NULL, 0, NULL, '[]', '[]', CASE WHEN i % 8 = 7 THEN NULL ELSE i END, NULL, NULL, 0,"
            " NULL, NULL, i, 1, CAST('' AS BYTES)"
        ),
    ),
    "findings": (
        KEYS,
        (
            f"{ID}, '01900000-0000-7000-8000-' || TENANT, 'slot.unowned', 'slot', 's' || @,"
            " 'service' || @, 'prod', '', 'info',"
            " CASE WHEN i % 100 = 7 THEN 'open' ELSE 'resolved' END, i, '{}', NULL, NULL, NULL,"
            " CASE WHEN i % 100 = 7 THEN NULL ELSE i END, i, 1, CAST('' AS BYTES)"
        ),
    ),
    # Every eighth is open, and every fiftieth key is waived.
    "incidents": (
        KEYS,
        (
            f"{ID}, '01900000-0000-7000-8000-' || TENANT,"
            " CASE WHEN i % 8 = 7 THEN 'contained' ELSE 'closed' END, 'leaked', NULL, NULL, NULL,"
            " 'revoke', i, 'op', i, NULL, '', '[]', '[]',"
            " CASE WHEN i % 8 = 7 THEN NULL ELSE i END, NULL, NULL, i, 1, CAST('' AS BYTES)"
        ),
    ),
    "incident_keys": (
        KEYS,
        (
            f"{ID}, {ID}, '01900000-0000-7000-8000-' || TENANT, 'key', 'service' || @, 'prod',"
            " 'named', 'active', i, i, '01900000-0000-7000-8000-' || (200000000000 + i), i, NULL,"
            " CASE WHEN i % 50 = 7 THEN '[]' END, i, 1, CAST('' AS BYTES)"
        ),
    ),
    "destinations": (
        4_000,
        (
            f"{ID}, '01900000-0000-7000-8000-' || TENANT, 'vault' || @, 'vault', '{{}}',"
            " CAST('' AS BYTES), '0', 'proven', i, NULL, i, 'op', i, 1, CAST('' AS BYTES)"
        ),
    ),
    # Every hundredth has something to do.
    "deliveries": (
        KEYS,
        (
            f"{ID}, '01900000-0000-7000-8000-' || TENANT, 'service' || @, 'prod', {ID}, {ID},"
            " '01900000-0000-7000-8000-' || (100000000000 + i % 300), 'vault',"
            " CASE WHEN i % 100 = 7 THEN 'waiting' WHEN i % 50 = 9 THEN 'restored'"
            " ELSE 'delivered' END,"
            " CASE WHEN i % 100 = 7 THEN CAST('' AS BYTES) END, NULL, NULL, NULL, 1, i % 5, i,"
            " NULL, NULL, NULL, NULL, NULL, NULL, NULL, i, 'op', i, CAST('' AS BYTES)"
        ),
    ),
    "channels": (
        2_000,
        (
            f"{ID}, '01900000-0000-7000-8000-' || TENANT, 'webhook', 'hook', 'https://x/', '[]', 0,"
            " '[]', 'active', NULL, '[]', i, i, 'op', i, 1, CAST('' AS BYTES)"
        ),
    ),
    "posture_waivers": (
        2_000,
        (
            f"{ID}, '01900000-0000-7000-8000-' || TENANT, 'keys.owned', NULL, NULL, NULL, 'why', i,"
            " i, 'op', NULL, NULL, i, 1, CAST('' AS BYTES)"
        ),
    ),
    # Every hundredth waits.
    "messages": (
        ENTRIES,
        (
            f"{ID}, '01900000-0000-7000-8000-' || (100000000000 + i % 50),"
            " '01900000-0000-7000-8000-' || TENANT, i, 'a.b', 's' || @, '{}', '[]', i,"
            " CAST('' AS BYTES),"
            " CASE WHEN i % 100 = 7 THEN 'waiting' WHEN i % 3 = 0 THEN 'dead' ELSE 'sent' END,"
            " 0, i, 0, CASE WHEN i % 100 = 7 THEN NULL ELSE i END, NULL, '[]', '[]'"
        ),
    ),
    "changes": (
        ENTRIES,
        f"i, 'key', {ID}, 1, '01900000-0000-7000-8000-' || TENANT, i, CAST('' AS BYTES)",
    ),
    "requests": (
        REQUESTS,
        (
            f"{ID}, 'request-' || (i % 3000), i, '01900000-0000-7000-8000-' || TENANT,"
            " '01900000-0000-7000-8000-' || (100000000000 + i % 1500), i % 2, 'valid', 'worker', 1,"
            " '10.0.0.1', '00000000000000000000ffff0a000001', NULL, 'GET', '/', '[]', NULL,"
            " NULL, NULL, NULL"
        ),
    ),
    "traffic": (
        REQUESTS,
        f"{ID}, i % 500, 'caller', 'value' || i, 1, 1, i, i",
    ),
    "activity": (
        ENTRIES,
        (
            f"i, {ID}, '01900000-0000-7000-8000-' || TENANT, 'user', NULL, 'op', 'api_key.created',"
            " 'security', 'api_key', '01900000-0000-7000-8000-' || (100000000000 + i % 1500), 1,"
            " 'success', 'm', '{}', 'request-' || (i % 3000), 400, i, i, i, CAST('' AS BYTES),"
            " CAST('' AS BYTES)"
        ),
    ),
    "idempotency": (
        4_000,
        (f"{ID}, {ID}, 'POST', 'k' || @, CAST('' AS BYTES), 201, '{{}}', '', i, CAST('' AS BYTES)"),
    ),
}
TENANT = UUID("01900000-0000-7000-8000-100000000007")
KEY = UUID("01900000-0000-7000-8000-100000000047")
RECEIVER = UUID("01900000-0000-7000-8000-100000000007")
CALLER = Caller("worker", True, "10.0.0.1")


def settle(ground: Ground, raw: Raw) -> None:
    bytes_ = "BLOB" if ground.engine == "sqlite" else "BYTEA"
    raw.run("BEGIN")
    for table, (count, values) in TABLES.items():
        spelled = (
            values.replace("@", "CAST(100000000000 + i AS TEXT)")
            .replace("TENANT", f"(100000000000 + i % {TENANTS})")
            .replace("BYTES", bytes_)
        )
        raw.run(
            f"INSERT INTO {table} WITH RECURSIVE n (i) AS"
            f" (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT {spelled} FROM n"
        )
    raw.run("COMMIT")
    raw.run("ANALYZE")


def _overlook(_: Damage) -> None:
    """The rows have no seals: what is asked for here is their plan."""


@dataclass(frozen=True, slots=True)
class City:
    ground: Ground
    store: Store


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def city(request: pytest.FixtureRequest, plots: Plots) -> Iterator[City]:
    ground = plots.migrated(request.param)
    with ground.raw() as raw:
        settle(ground, raw)
    store = ground.open(_overlook)
    yield City(ground, store)
    store.close()
    plots.clear(ground)


@contextmanager
def noted(reading: Reading) -> Iterator[list[tuple[str, Any]]]:
    """What is asked of the engine meanwhile."""
    statements: list[tuple[str, Any]] = []

    def note(*asked: Any) -> None:
        statements.append((asked[2], asked[3]))

    connection = reading.session.connection
    event.listen(connection, "before_cursor_execute", note)
    yield statements
    event.remove(connection, "before_cursor_execute", note)


def plan(city: City, statement: str, values: Any) -> list[str]:
    """The steps of a plan, one line each."""
    if city.ground.engine == "sqlite":
        with city.ground.raw() as raw:
            return [
                row[3] for row in raw.connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            ]
    with psycopg.connect(city.ground.place) as connection:
        [(found,)] = connection.execute(f"EXPLAIN (FORMAT JSON) {statement}".encode(), values)
    tree = found if isinstance(found, list) else json.loads(found)
    return list(_steps(tree[0]["Plan"]))


def _steps(node: dict[str, Any]) -> Iterator[str]:
    yield " ".join(
        str(node[name]) for name in ("Node Type", "Relation Name", "Index Name") if name in node
    )
    for child in node.get("Plans", ()):
        yield from _steps(child)


# SQLite: `SCAN t` and `SCAN t USING INDEX` both read all of it, `SEARCH` goes by an index. A scan
# of the one row of the head, or of a subquery's own rows, is none of a table's.
_SCAN = re.compile(rf"(?:SCAN|Seq Scan) (?:TABLE )?(?:{'|'.join(TABLES)})(?:_\d+)?\b")
# All of a partial index is what is looked for, and no more.
_PARTIAL = re.compile(
    r"USING (?:COVERING )?INDEX (?:ix_uses_overflowing|ix_rotations_open_id|ix_deliveries_due"
    r"|ix_messages_waiting|ix_incidents_open_id|ix_incident_keys_waived)\b"
)
_BY_INDEX = re.compile(r"USING (?:COVERING )?INDEX|USING (?:INTEGER )?PRIMARY KEY|Index")


def assert_by_index(city: City, statement: str, values: Any) -> None:
    steps = plan(city, statement, values)
    walks = [step for step in steps if _SCAN.search(step) and not _PARTIAL.search(step)]
    assert not walks, (statement, steps)
    assert [step for step in steps if _BY_INDEX.search(step)], (statement, steps)


@pytest.mark.parametrize(
    "statement",
    ["SELECT id FROM keys WHERE name = 'x'", "SELECT at FROM requests WHERE path = '/a'"],
)
def test_a_walk_over_a_whole_table_is_seen(city: City, statement: str) -> None:
    with pytest.raises(AssertionError):
        assert_by_index(city, statement, ())


def credential_statements(city: City) -> tuple[str, str]:
    if city.ground.engine == "sqlite":
        named = SQLiteDialect_pysqlite(paramstyle="named")
        return key_statement(named), operator_statement(named)
    dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]
    return key_statement(dialect), operator_statement(dialect)


def test_a_credential_is_found_by_its_index(city: City) -> None:
    statements = credential_statements(city)
    for statement in statements:
        assert_by_index(city, statement, {"id": str(KEY)})
    steps = plan(city, statements[0], {"id": str(KEY)})
    # Of all the rotations there ever were, those alone that are open.
    assert [step for step in steps if "rotations" in step and "_open_" in step], steps
    assert POSITION_STATEMENT == "SELECT position FROM change_head"  # a table of one row


def test_a_cache_is_filled_and_the_log_followed_by_indexes(city: City) -> None:
    for statement in credential_statements(city):
        assert_by_index(city, fill_statement(statement), {"id": str(KEY)})
    assert_by_index(city, LAST, ())
    if city.ground.engine == "sqlite":
        return  # one process has nobody to follow
    assert_by_index(city, REPORT, report_values(report_of(applied=7)))
    for after in (0, 7, ENTRIES - 1, ENTRIES):
        assert_by_index(city, LOOK, {"after": after})
    steps = plan(city, LOOK, {"after": 7})
    assert not [step for step in steps if step.startswith("Sort")], steps


Ask = Callable[[Reading], object]
EVERYTHING = KeyFilter(status=None, now=SOME_TIME)
SLOTS: dict[str, Any] = {
    "patterns": ("*",),
    "service": None,
    "environment": None,
    "owner": None,
    "limit": 101,
    "before": None,
}


def keys(before: UUID | None = None, **wanted: Any) -> Ask:
    asked = KeyFilter(**{"status": None, "now": SOME_TIME} | wanted)
    return lambda reading: reading.keys.list(TENANT, asked, limit=101, before=before)


def requests(before: tuple[int, str] | None = None, **wanted: Any) -> Ask:
    asked = RequestFilter(**wanted)
    return lambda reading: reading.requests.list(TENANT, asked, limit=101, before=before)


def activity(before: int | None = None, **wanted: Any) -> Ask:
    asked = ActivityFilter(**wanted)
    return lambda reading: reading.activity.list(TENANT, asked, limit=101, before=before)


SCOPE = IdempotencyScope(caller_id=KEY, workspace_id=TENANT, route="POST", idempotency_key="k")
OPEN = SlotName(service="service100000000047", environment="prod")
INCIDENT = replace(making.incident(0), id=KEY)
HOT: dict[str, Ask] = {
    "a key": lambda reading: reading.keys.view(TENANT, KEY),
    "a key to change": lambda reading: reading.keys.find(TENANT, KEY),
    "a key's workspace": lambda reading: reading.keys.workspace_of(KEY),
    "keys": keys(),
    "active keys": keys(status=KeyStatus.ACTIVE),
    "suspended keys": keys(status=KeyStatus.SUSPENDED),
    "expired keys": keys(status=KeyStatus.EXPIRED),
    "keys of a slot": keys(service="service100000000007", environment="prod"),
    "keys of an owner": keys(owner="owner7"),
    "keys made by a key": keys(created_by=KEY),
    "the second page of keys": keys(before=KEY),
    "the second page of active keys": keys(before=KEY, status=KeyStatus.ACTIVE),
    "how many active keys": lambda reading: reading.keys.count(
        TENANT, KeyFilter(status=KeyStatus.ACTIVE, now=SOME_TIME)
    ),
    "a slot": lambda reading: reading.slots.find(
        TENANT, SlotName(service="service100000000007", environment="prod")
    ),
    "slots": lambda reading: reading.slots.list(TENANT, **SLOTS),
    "the second page of slots": lambda reading: reading.slots.list(
        TENANT, **{**SLOTS, "before": (5, "a", "b")}
    ),
    "a workspace": lambda reading: reading.workspaces.find(TENANT),
    "an operator": lambda reading: reading.operators.find(KEY),
    "the second page of workspaces": lambda reading: reading.workspaces.list(
        limit=101, before=TENANT
    ),
    "requests": requests(),
    "the second page of requests": requests(before=(9_000, "x")),
    "requests of a key": requests(key_id=KEY),
    "the second page of requests of a key": requests(before=(9_000, "x"), key_id=KEY),
    "requests of a request id": requests(request_id="request-47"),
    "requests of a time": requests(since=5_000, until=5_100),
    "traffic of two keys": lambda reading: reading.traffic.of_keys([KEY, TENANT], 0, 400),
    "hours of traffic": lambda reading: reading.traffic.hours(KEY, 0, SOME_TIME),
    "the begin of traffic": lambda reading: reading.traffic.begins_at(KEY),
    "sums of traffic": lambda reading: reading.traffic.sums([KEY], 0, SOME_TIME, [5]),
    "callers of keys": lambda reading: reading.traffic.callers([KEY, TENANT], 5),
    "totals of hours": lambda reading: reading.traffic.totals([KEY], [5, 6]),
    "hours that were cut": lambda reading: reading.traffic.cut_hours([KEY], 0, SOME_TIME),
    "spans of callers": lambda reading: reading.traffic.spans([KEY], [CALLER], 0, SOME_TIME),
    "the rhythm of a key": lambda reading: reading.traffic.rhythm([KEY], 0, SOME_TIME),
    "tallies of requests": lambda reading: reading.requests.tallies([KEY], 0, 9_000),
    "counts of requests": lambda reading: reading.requests.counts([KEY], 0, 9_000),
    "requests of callers": lambda reading: reading.requests.of_callers(
        [KEY], [CALLER], 0, 9_000, limit=50
    ),
    "requests of callers at times": lambda reading: reading.requests.of_callers(
        [KEY], [CALLER], 0, 9_000, limit=50, times=[5, 6]
    ),
    "a series": lambda reading: reading.usage.series(KEY, since=0, until=SOME_TIME, bucket=60),
    "runtimes": lambda reading: reading.usage.runtimes(KEY, since=0, until=SOME_TIME),
    "activity": activity(),
    "the second page of activity": activity(before=9_000),
    "activity of a resource": activity(resource_type="api_key", resource_id=str(KEY)),
    "activity of a request": activity(request_id="request-47"),
    "what a key has done": activity(actor_id=str(KEY)),
    "what keys have changed": lambda reading: reading.activity.done_by(
        TENANT, [KEY, TENANT], ["api_key.updated"], 0, limit=50
    ),
    "who has changed slots": lambda reading: reading.activity.done_to(
        TENANT, "slot", ["a-prod", "b-prod"], ["slot.updated"]
    ),
    "the last genuine changes": lambda reading: reading.activity.last_genuine_changes(
        "key", [str(KEY), str(TENANT)]
    ),
    "the last change": lambda reading: reading.activity.last_change("key", str(KEY)),
    "links of the chain": lambda reading: reading.activity.links(after=9_000, limit=1_000),
    "changes": lambda reading: reading.activity.changes(after=9_000, limit=1_000),
    "uses of two keys": lambda reading: reading.uses.of([KEY, TENANT]),
    "keys with too many runtimes": lambda reading: reading.uses.overflowing(100),
    "a rotation": lambda reading: reading.rotations.find(TENANT, KEY),
    "the open rotation of a slot": lambda reading: reading.rotations.open_of_slot(TENANT, OPEN),
    "the open rotation of a key": lambda reading: reading.rotations.open_of_key(TENANT, KEY),
    "open rotations": lambda reading: reading.rotations.open(after=None, limit=100),
    "more open rotations": lambda reading: reading.rotations.open(after=KEY, limit=100),
    "rotations": lambda reading: reading.rotations.list(
        TENANT, RotationFilter(), limit=101, before=None
    ),
    "the second page of rotations": lambda reading: reading.rotations.list(
        TENANT, RotationFilter(), limit=101, before=KEY
    ),
    "a finding": lambda reading: reading.findings.find(TENANT, KEY),
    "findings": lambda reading: reading.findings.list(
        TENANT, FindingFilter(), limit=101, before=None
    ),
    "what is not resolved": lambda reading: reading.findings.unresolved(TENANT),
    "what of a kind is not resolved": lambda reading: reading.findings.unresolved_of(
        TENANT, {FindingKind.UNOWNED}, {"s100000000007"}
    ),
    "whether there was a finding": lambda reading: reading.findings.has_ever(
        TENANT, FindingKind.UNOWNED, "s100000000047", ""
    ),
    "an incident": lambda reading: reading.incidents.find(TENANT, KEY),
    "an incident's workspace": lambda reading: reading.incidents.workspace_of(KEY),
    "the keys of an incident": lambda reading: reading.incidents.keys_of_each([INCIDENT]),
    "the open incident of a key": lambda reading: reading.incidents.open_of_keys(TENANT, [KEY]),
    "the incidents of a key": lambda reading: reading.incidents.of_key(TENANT, KEY),
    "open incidents": lambda reading: reading.incidents.open(after=None, limit=50),
    "more open incidents": lambda reading: reading.incidents.open(after=KEY, limit=50),
    "incidents": lambda reading: reading.incidents.list(
        TENANT, IncidentFilter(), limit=101, before=None
    ),
    "the second page of incidents": lambda reading: reading.incidents.list(
        TENANT, IncidentFilter(states=(IncidentState.CLOSED,)), limit=101, before=KEY
    ),
    "what incidents put in the place of a key": lambda reading: reading.incidents.successors(
        TENANT, [KEY]
    ),
    "what rotations put in the place of a key": lambda reading: reading.rotations.successors(
        TENANT, [KEY]
    ),
    "the open rotations of keys": lambda reading: reading.rotations.open_of_keys(TENANT, [KEY]),
    "several keys": lambda reading: reading.keys.among(TENANT, [KEY, TENANT]),
    "what keys have made": lambda reading: reading.keys.made_by(TENANT, [KEY, TENANT]),
    "several slots": lambda reading: reading.slots.among(TENANT, [OPEN]),
    "waivers that have run out": lambda reading: reading.incidents.run_out(0, limit=100),
    "late uses of keys": lambda reading: reading.incidents.late_uses(key_ids=[KEY, TENANT]),
    "late uses of incidents": lambda reading: reading.incidents.late_uses(incident_ids=[KEY]),
    "incidents that have ended": lambda reading: reading.incidents.ended(after=KEY, limit=50),
    "a destination": lambda reading: reading.destinations.find(TENANT, KEY),
    "a destination by its name": lambda reading: reading.destinations.named(
        TENANT, "vault100000000047"
    ),
    "a destination's workspace": lambda reading: reading.destinations.workspace_of(KEY),
    "destinations": lambda reading: reading.destinations.list(TENANT, None, limit=101, before=None),
    "the second page of destinations": lambda reading: reading.destinations.list(
        TENANT, None, limit=101, before=KEY
    ),
    "how many destinations": lambda reading: reading.destinations.count(TENANT, None),
    "a delivery": lambda reading: reading.deliveries.find(TENANT, KEY),
    "a delivery's workspace": lambda reading: reading.deliveries.workspace_of(KEY),
    "deliveries of a key": lambda reading: reading.deliveries.of_key(KEY),
    "deliveries that are due": lambda reading: reading.deliveries.due(3_000, limit=200),
    "deliveries that are due elsewhere": lambda reading: reading.deliveries.due(
        3_000, limit=200, no_workspaces=[TENANT], no_destinations=[KEY]
    ),
    "when a delivery is due": lambda reading: reading.deliveries.next_at(),
    "whether a destination is in use": lambda reading: reading.deliveries.is_in_use(KEY),
    "deliveries that fail": lambda reading: reading.deliveries.failing(TENANT, 3, limit=1_000),
    "how many deliveries are open": lambda reading: reading.deliveries.tally(),
    "deliveries": lambda reading: reading.deliveries.list(
        TENANT, DeliveryFilter(), limit=101, before=None
    ),
    "the second page of deliveries": lambda reading: reading.deliveries.list(
        TENANT, DeliveryFilter(), limit=101, before=KEY
    ),
    "deliveries of a key in its workspace": lambda reading: reading.deliveries.list(
        TENANT, DeliveryFilter(key_id=KEY), limit=8, before=None
    ),
    "a channel": lambda reading: reading.channels.find(TENANT, KEY),
    "channels": lambda reading: reading.channels.list(TENANT, limit=101, before=KEY),
    "channels of a workspace": lambda reading: reading.channels.of_workspace(TENANT),
    "a waiver": lambda reading: reading.posture_waivers.find(TENANT, KEY),
    "waivers": lambda reading: reading.posture_waivers.list(
        TENANT, slots=("*",), limit=101, before=KEY
    ),
    "waivers that hold": lambda reading: reading.posture_waivers.holding(TENANT, SOME_TIME),
    "waivers of a period": lambda reading: reading.posture_waivers.held(TENANT, 0, SOME_TIME),
    "uses since a time": lambda reading: reading.uses.of_since([KEY], SOME_TIME),
    "what a key was used for": lambda reading: reading.traffic.used_for([KEY], SOME_TIME),
    "rotations that tell": lambda reading: reading.rotations.telling(
        TENANT, ("*",), "drill", SOME_TIME
    ),
    "keys that lived": lambda reading: reading.keys.lived(
        TENANT, ("*",), 0, SOME_TIME, limit=101, before=KEY
    ),
    "rotations of a period": lambda reading: reading.rotations.of_period(
        TENANT, [KEY], 0, SOME_TIME
    ),
    "the hash of an entry": lambda reading: reading.activity.hash_of(7),
    "how many channels": lambda reading: reading.channels.count(TENANT),
    "what waits": lambda reading: reading.messages.waiting_channels(),
    "what is due": lambda reading: reading.messages.due(RECEIVER, SOME_TIME, limit=4, longest=9),
    "when a channel took something last": lambda reading: reading.messages.last_sent_at(RECEIVER),
    "how much of a channel is in which state": lambda reading: reading.messages.tally([RECEIVER]),
    "a message": lambda reading: reading.messages.find(TENANT, KEY),
    "messages": lambda reading: reading.messages.list(
        TENANT, MessageFilter(), limit=101, before=KEY
    ),
    "messages of a channel": lambda reading: reading.messages.list(
        TENANT, MessageFilter(channel_id=RECEIVER), limit=101, before=None
    ),
    "an answer": lambda reading: reading.idempotency.find(SCOPE, since=0),
}


def test_what_is_read_often_is_read_by_an_index(city: City) -> None:
    for name, ask in HOT.items():
        with (
            city.store.read() as reading,
            noted(reading) as statements,
            suppress(IntegrityFailed),  # the rows have no seals
        ):
            ask(reading)
        assert statements, name
        for statement, values in statements:
            assert_by_index(city, statement, values)


@pytest.mark.parametrize(
    "name",
    [
        *("activity of a resource", "what a key has done", "the last genuine changes"),
        *("what keys have changed", "who has changed slots"),
    ],
)
def test_what_a_report_tells_of_a_key_is_not_looked_for_in_all_that_its_workspace_did(
    city: City, name: str
) -> None:
    with city.store.read() as reading, noted(reading) as statements:
        HOT[name](reading)
    for statement, values in statements:
        steps = plan(city, statement, values)
        wanted = ("ix_activity_resource", "ix_activity_actor", "ix_changes_kind_ref_position")
        assert [step for step in steps if any(one in step for one in wanted)], steps


TIDYING: dict[str, Ask] = {
    "purging requests": lambda transaction: transaction.requests.purge(100, limit=50),
    "purging traffic": lambda transaction: transaction.traffic.purge(100, limit=50),
    "purging deliveries": lambda transaction: transaction.deliveries.purge(100, limit=50),
    "silencing deliveries": lambda transaction: transaction.deliveries.silence(KEY, OPEN),
    "purging answers": lambda transaction: transaction.idempotency.purge(10),
    "blanking": lambda transaction: transaction.activity.blank_expired(100, limit=50),
    "purging messages": lambda transaction: transaction.messages.purge(
        MessageState.SENT, 100, limit=50
    ),
    "hurrying": lambda transaction: transaction.messages.hurry(RECEIVER, 5),
    "burying": lambda transaction: transaction.messages.bury(5, "why", channel_id=RECEIVER),
    "letting the earliest go": lambda transaction: transaction.messages.bury_earliest(
        RECEIVER, 5, "why", limit=50, due_before=4
    ),
    "reviving": lambda transaction: transaction.messages.revive(RECEIVER, 5),
    "recording": lambda transaction: transaction.requests.record(
        [(str(making.id_of(10**9)), making.request(1, key_id=KEY))]
    ),
}


class _Undone(Exception):
    pass


def test_what_is_tidied_often_is_found_by_an_index(city: City) -> None:
    for name, ask in TIDYING.items():
        statements: list[tuple[str, Any]] = []
        with suppress(_Undone), city.store.record() as transaction:
            with noted(transaction) as asked:
                ask(transaction)
            statements += asked
            raise _Undone
        assert statements, name
        for statement, values in statements:
            if not statement.startswith("INSERT"):
                assert_by_index(city, statement, values)
