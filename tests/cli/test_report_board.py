"""A report on a terminal of any width: nothing is lost where it is narrow, and no id is broken."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from keyturn.cli.naming import short
from keyturn.cli.report_board import report_lines
from keyturn.client.incident_report import IncidentReport
from tests.client.test_incident_calls import AT, LISTED
from tests.fuzz.texts import TOKENS

NOW = datetime(2026, 1, 2, 4, 4, 5, tzinfo=UTC)
ID = str(UUID(int=0x019A_27E7_487B_774F_94DB_B6FE_CA2D_C301))
HINT = TOKENS[12].rpartition("_")[0] + "_" + TOKENS[12].rpartition("_")[2][:22] + "…"
SEEN = {"first_seen_at": AT, "last_seen_at": AT}
COUNTS = {"allowed": 12_345, "denied": 67, "after_containment": 8}
NARROW = (40, 60)


def request(number: int, **members: Any) -> dict[str, Any]:
    return {
        "id": str(UUID(int=number)),
        "request_id": str(UUID(int=2**127 + number)),
        "at": AT,
        "valid": False,
        "code": "scope_missing",
        "runtime": "ua:python-requests",
        "declared": False,
        "ip": "2001:db8:1234:5678:9abc:def0:1234:5678",
        "method": "GET",
        "path": f"/v1/boards/{UUID(int=number)}/pins",
        "scopes": [],
        **members,
    }


def caller(runtime: str, standing: str, network: str) -> dict[str, Any]:
    members = {"declared": True, "unlike": ["network", "agent"], "keys_total": 1, "key_ids": [ID]}
    return {
        **COUNTS,
        **SEEN,
        **members,
        "runtime": runtime,
        "standing": standing,
        "network": network,
    }


REPORT = msgspec.convert(
    {
        "incident": {**LISTED, "id": ID},
        "made_at": AT,
        "window": {"since": AT, "until": AT},
        "complete": False,
        "gaps": [f"The records of {HINT} reach back to yesterday alone."],
        "totals": COUNTS,
        "runtimes": [
            caller("nightly-importer-of-the-warehouse", "ours", "10.0.0.0/8"),
            caller("ua:python-requests", "intruder", "2001:db8::/32"),
        ],
        "paths": [{**COUNTS, **SEEN, "path": f"GET /v1/boards/{ID}/pins"}],
        "unlike": [
            {
                "key_id": ID,
                "what": "new_network",
                "value": "2001:db8::/32",
                "requests": 9,
                **SEEN,
                "reason": f"{HINT} was never used from there in 56 days",
            }
        ],
        "indistinguishable": {"requests": 3, "detail": "3 cannot be told apart.", "callers": []},
        "requests": [request(number) for number in range(3)],
        "requests_total": 30,
        "timeline": [
            {"at": AT, "what": "incident.opened", "detail": f"by ada, over {HINT} and {ID}"}
        ],
    },
    IncidentReport,
)


def words(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


def shown(width: int | None) -> list[str]:
    return report_lines(REPORT, NOW + timedelta(hours=2), width)


@pytest.mark.parametrize("width", NARROW)
def test_on_a_narrow_terminal_nothing_is_lost_and_no_id_is_broken(width: int) -> None:
    narrow, whole = shown(width), shown(None)
    told = words(narrow)
    for word in {word for line in whole for word in line.split() if not word.isupper()}:
        assert word in told.split(), word
    for line in narrow:
        assert len(line) <= width or len(line.split()) == 1, line
    for id_ in (HINT, ID, str(short(ID)), *(one.request_id for one in REPORT.requests)):
        assert any(id_ in line for line in narrow), id_
    assert "…" not in told.replace("… and", "").replace(HINT, "")


@pytest.mark.parametrize("width", [20, *NARROW, 80, 120, 300])
def test_each_command_can_be_copied(width: int) -> None:
    copied = words([line.removesuffix("\\") for line in shown(width)])
    assert f"Next: {REPORT.incident.next_step}" in copied
    assert f"keyturn incidents show {short(ID)}" in copied
    assert f"keyturn incidents report {short(ID)} --format html -o report.html" in copied


@pytest.mark.parametrize("width", [80, 120])
def test_where_there_is_room_no_line_is_wider_than_it(width: int) -> None:
    assert all(len(line) <= width or len(line.split()) == 1 for line in shown(width))


def test_a_record_names_each_of_its_cells() -> None:
    lines = shown(40)
    begin = lines.index("is         intruder")
    assert lines[begin - 1] == "caller     ua:python-requests"
    assert lines[begin + 1 : begin + 4] == [
        "from       2001:db8::/32",
        "allowed    12,345",
        "denied     67",
    ]
