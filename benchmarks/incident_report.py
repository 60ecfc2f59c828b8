"""How long a report on an incident takes over ten million recorded requests.

    python -m benchmarks.incident_report [--requests 10000000] [--keys 1000] [--folder FOLDER]

On SQLite. The first line is of a busy key among a thousand, with a tenth of all requests; the
second of the worst case, a key that has all of them, in a database of its own. Each is the median
of three, and beside it what counting that key's requests alone takes in the same run. The bound is
two seconds (S9). A month of traffic by three runtimes from a handful of addresses over forty paths,
and a thief with three hundred requests, scattered over a week of it.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.houses import House, Plots, Raw

from keyturn.domain.incident import Containment, IncidentReason
from keyturn.domain.instant import DAY, SECOND
from keyturn.domain.slot import ExpectedRuntime, SlotName, SlotNotes
from keyturn.domain.token import Token
from keyturn.services.define import define_slot
from keyturn.services.report import Report, report_incident
from keyturn.services.respond import Exposure, OpenedIncident, open_incident
from keyturn.services.select import Named
from keyturn.storage.transaction import Writing
from keyturn.testing.ambience import SOME_TIME

BOUND_SECONDS = 2.0
SPAN = 30 * DAY
THIEVES = 300
SLOT = SlotName(service="worker", environment="prod")
TIMES = 3

_NUMBERS = "WITH RECURSIVE one(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM one WHERE i < :last)"
# Three runtimes, six addresses each, forty paths; a key's share is spread over the whole span.
_INSERT = f"""{_NUMBERS}
INSERT INTO requests (id, request_id, at, workspace_id, key_id, valid, code, runtime, declared, ip,
    ip_order, user_agent, method, path, scopes, environment)
SELECT printf('01900000-0000-7000-8000-%012x', i), 'request-' || i, :begin + i * :step, :workspace,
    CASE WHEN :keys = 1 OR i % 10 = 0 THEN :key
         ELSE printf('01900000-0000-7000-9000-%012x', i % (:keys - 1)) END,
    1, 'valid', CASE i / 10 % 3 WHEN 0 THEN 'worker' WHEN 1 THEN 'nightly' ELSE 'ua:httpx' END,
    i / 10 % 3 < 2, '10.1.0.' || (i / 30 % 6),
    printf('00000000000000000000ffff0a0100%02x', i / 30 % 6), 'httpx/0.28', 'GET',
    '/pins/' || (i / 7 % 40), '["read"]', 'prod' FROM one"""
_THIEF = f"""{_NUMBERS}
INSERT INTO requests (id, request_id, at, workspace_id, key_id, valid, code, runtime, declared, ip,
    ip_order, user_agent, method, path, scopes, environment)
SELECT printf('01900000-0000-7000-a000-%012x', i), 'thief-' || i,
    :begin + i / 5 * 7200000000 + i % 5 * 600000000, :workspace,
    :key, 1, 'valid', 'ua:curl', 0, '198.51.100.23', '00000000000000000000ffffc6336417', 'curl/8.9',
    'GET', '/admin/' || i, '["read"]', NULL FROM one"""
_CALLER = """'["' || runtime || '",' || iif(declared, 'true', 'false') || ',"' || ip || '"]'"""
_FACETS = (
    ("caller", _CALLER),
    ("path", "method || ' ' || path"),
    ("scope", "'read'"),
    ("agent", "user_agent"),
    ("environment", "environment"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description="How long a report takes.")
    parser.add_argument("--requests", type=int, default=10_000_000)
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--folder", type=Path, help="Where there is room: about 1 GB a million.")
    given = parser.parse_args()
    rows = ((f"a busy key of {given.keys:,}", given.keys), ("every request is one key's", 1))
    is_within = True
    for name, keys in rows:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            is_within &= measure(name, given.requests, keys, Path(folder))
    return 0 if is_within else 1


def measure(name: str, count: int, keys: int, folder: Path) -> bool:
    plots = Plots(folder, _no_postgres)
    house = House(*plots.installed("sqlite"))
    house.clock.jump(-SPAN - DAY)
    token = house.issue(slot=str(SLOT), scopes=("read",)).token
    ours = tuple(
        ExpectedRuntime(name=name, max_call_interval_seconds=60)
        for name in ("worker", "nightly", "ua:httpx")
    )
    notes = SlotNotes(runtimes=ours)
    define_slot(house.context, house.act(), house.workspace_id, SLOT, notes)
    house.clock.jump(SPAN + DAY)
    fill(house, token, count, keys)
    try:
        incident = contain(house, token)
        timed = [one_report(house, incident) for _ in range(TIMES)]
        report = timed[0][1]
        counted = statistics.median(one_count(house, token) for _ in range(TIMES))
    finally:
        house.close()
    # The thief alone is not ours, and what it did lies scattered among all the others' requests.
    assert (report.requests_total, len(report.requests)) == (THIEVES, THIEVES)
    seconds = statistics.median(one for one, _, _ in timed)
    spent = statistics.median(one for _, _, one in timed)
    total = report.radius.totals.allowed
    print(
        f"{count:,} requests, {name} ({total:,} requests): {seconds:.2f} s, {spent:.2f} s of it "
        f"on the processor (bound {BOUND_SECONDS:.0f} s), {seconds / counted:.1f} times a "
        f"count(*) of that key ({counted:.2f} s)",
        flush=True,
    )
    return seconds <= BOUND_SECONDS


def fill(house: House, token: Token, count: int, keys: int) -> None:
    """Without the indexes, which are made afterwards: as each row comes they would take an hour."""
    begin = SOME_TIME - SPAN
    names = {"workspace": str(house.workspace_id), "key": str(token.id)}
    with house.raw() as raw:
        indexes = raw.run(
            "SELECT name, sql FROM sqlite_master WHERE tbl_name IN ('requests', 'traffic')"
            " AND type = 'index' AND sql IS NOT NULL"
        )
        for index, _ in indexes:
            raw.run(f"DROP INDEX {index}")
        step = SPAN // count
        raw.run(_INSERT, begin=begin, step=step, last=count - 1, keys=keys, **names)
        # Five in an hour, over sixty hours: each of these has to be looked through.
        raw.run(_THIEF, begin=SOME_TIME - 7 * DAY, last=THIEVES - 1, **names)
        _count(raw)
        for _, statement in indexes:
            raw.run(statement)


def _count(raw: Raw) -> None:
    """The traffic of these requests."""
    hour = "at - at % 3600000000"
    for facet, value in _FACETS:
        raw.run(
            "INSERT INTO traffic (key_id, hour, facet, value, allowed, denied, first_at, last_at)"
            f" SELECT key_id, {hour}, '{facet}', {value}, sum(valid), count(*) - sum(valid),"
            f" min(at), max(at) FROM requests WHERE {value} IS NOT NULL GROUP BY 1, 2, 4"
        )


def contain(house: House, token: Token) -> OpenedIncident:
    exposure = Exposure(
        reason=IncidentReason.LEAKED,
        detail=None,
        found_url=None,
        exposed_since=None,
        containment=Containment.REVOKE,
    )
    house.clock.jump(SECOND)
    exposed = Named(ids=(token.id,))
    return open_incident(
        house.context, house.act(), house.workspace_id, exposure, exposed, SOME_TIME, _forget
    )


def one_report(house: House, opened: OpenedIncident) -> tuple[float, Report, float]:
    began, spent = time.perf_counter(), time.process_time()
    report = report_incident(
        house.context, house.operator, house.workspace_id, opened.judged.incident.id, None
    )
    return time.perf_counter() - began, report, time.process_time() - spent


def one_count(house: House, token: Token) -> float:
    with house.raw() as raw:
        began = time.perf_counter()
        raw.run("SELECT count(*) FROM requests WHERE key_id = :key", key=str(token.id))
        return time.perf_counter() - began


def _forget(transaction: Writing, opened: OpenedIncident) -> None:
    """There is no answer to be kept."""


def _no_postgres() -> object:
    raise LookupError("this is measured on SQLite")


if __name__ == "__main__":
    sys.exit(main())
