"""The figures tell what happened, and each of them can be wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from keyturn.client import (
    Activity,
    Delivery,
    Destination,
    Incident,
    IncidentKey,
    IncidentReport,
    IncidentSeconds,
    RecordedRequest,
    Rotation,
)
from keyturn.client.incident_report import (
    ReportIndistinguishable,
    ReportRuntime,
    ReportTotals,
    ReportWindow,
)
from keyturn.demo.evidence import Chapter, Evidence, Replacement, Response
from keyturn.demo.figures import Figures, measure
from keyturn.demo.incident_figures import IncidentFigures
from keyturn.demo.journal import Entry
from keyturn.demo.table import faults, lines
from keyturn.demo.tally import Tally

BEGAN, ENDED = 10.0, 20.0
ASKED, ANSWERED = 30.0, 30.01
START = datetime(2026, 1, 1, tzinfo=UTC)
HINTS = {
    "key-old": "kt_prod_old",
    "key-new": "kt_prod_new",
    "key-worker": "kt_prod_worker",
    "key-worker-new": "kt_prod_healed",
}
RUNTIMES = {"s": "scheduler", "a": "admin", "t": "ua:curl"}


def entry(request_id: str, sent_at: float, status: int | None = 200, key: str = "worker") -> Entry:
    return Entry(
        request_id=request_id,
        key_hint=f"kt_prod_{key}",
        method="GET",
        path="/articles",
        sent_at=sent_at,
        answered_at=sent_at + 0.005,
        status=status,
    )


def record(of: Entry) -> RecordedRequest:
    return RecordedRequest(
        id=of.request_id,
        request_id=of.request_id,
        at=START + timedelta(seconds=of.sent_at),
        key_id=next(id_ for id_, hint in HINTS.items() if hint == of.key_hint),
        valid=of.is_served,
        code="valid" if of.is_served else "revoked",
        runtime=RUNTIMES.get(of.request_id[0], "worker"),
        declared=of.request_id[0] != "t",
        scopes=[],
    )


def replacement() -> Replacement:
    """A rotation in which admin was waited for, and the old key ended by itself."""
    return Replacement(
        began_at=BEGAN,
        ended_at=ENDED,
        runtimes=("scheduler", "admin"),
        stragglers=("admin",),
        was_refused=True,
        browned_out_at=START + timedelta(seconds=17),
        rotation=Rotation(
            id="rotation",
            workspace_id="workspace",
            service="scheduler",
            environment="prod",
            slot="scheduler-prod",
            old_key_id="key-old",
            new_key_id="key-new",
            state="completed",
            started_at=START + timedelta(seconds=10),
            deadline=START + timedelta(days=1),
            overdue=False,
            completed_at=START + timedelta(seconds=19),
            ended_by="keyturn rotations",
            forced=False,
            auto_complete=True,
            overlap_seconds=86_400,
            quiet_seconds=2,
            brownout_seconds=2,
            lookback_seconds=86_400,
            lifts=0,
            decisions=[],
            evidence=[],
            blocked_by=[],
            deliveries=[delivery()],
            next_step="",
            version=4,
        ),
        destination=Destination(
            id="destination",
            workspace_id="workspace",
            name="openbao",
            kind="vault",
            config={},
            state="proven",
            created_at=START,
            created_by="operator",
            updated_at=START,
            version=1,
        ),
        started=started("worker", "keyturn rotations"),
        answers=2,
        tokens_shown=0,
    )


def delivery(state: str = "delivered") -> Delivery:
    return Delivery(
        id="delivery",
        workspace_id="workspace",
        slot="scheduler-prod",
        key_id="key-new",
        rotation_id="rotation",
        destination="openbao",
        destination_id="destination",
        state=state,
        attempts=1,
        failures=0,
        delivered_at=START + timedelta(seconds=10.5) if state == "delivered" else None,
        created_at=START + timedelta(seconds=10),
        created_by="keyturn rotations",
    )


def started(actor_type: str, label: str) -> Activity:
    return Activity(
        id="activity",
        actor_type=actor_type,
        actor_label=label,
        action="rotation.started",
        category="rotations",
        resource_type="rotation",
        resource_id="rotation",
        status="success",
        message="",
        metadata={},
        retention_days=400,
        expires_at=START + timedelta(days=400),
        created_at=START + timedelta(seconds=10),
    )


def incident() -> Incident:
    """One that was closed when the worker had recovered."""
    at = START + timedelta(seconds=ASKED)
    return Incident(
        id="incident",
        workspace_id="workspace",
        state="closed",
        reason="leaked",
        containment="revoke",
        opened_at=at,
        opened_by="operator",
        contained_at=at,
        outcome="confirmed",
        next_step="",
        report_url="/v1/incidents/incident/report",
        seconds=IncidentSeconds(contain=0.01, replace=0.25, recover=2.0),
        keys_total=1,
        keys_open=0,
        version=5,
        keys=[
            IncidentKey(
                key_id="key-worker",
                name="worker-prod",
                service="worker",
                environment="prod",
                because="named",
                status="revoked",
                exposed_since=START,
                contained_at=at,
                replacement_key_id="key-worker-new",
                replaced_at=at + timedelta(seconds=0.25),
                recovered_at=at + timedelta(seconds=2),
            )
        ],
    )


def caller(runtime: str, network: str, standing: str) -> ReportRuntime:
    return ReportRuntime(
        runtime=runtime,
        declared=standing == "ours",
        network=network,
        standing=standing,
        first_seen_at=START,
        last_seen_at=START,
        allowed=1,
        denied=2,
        after_containment=2,
        keys_total=1,
        key_ids=["key-worker"],
    )


def report(stolen: Sequence[Entry]) -> IncidentReport:
    """One that knows all of these."""
    return IncidentReport(
        incident=incident(),
        made_at=START + timedelta(seconds=40),
        window=ReportWindow(since=START, until=START + timedelta(seconds=ASKED)),
        complete=True,
        totals=ReportTotals(allowed=3, denied=5, after_containment=4),
        runtimes=[
            caller("worker", "cluster", "ours"),
            caller("ua:curl", "203.0.113.66", "intruder"),
        ],
        requests=[record(one) for one in stolen],
        requests_total=len(stolen),
        indistinguishable=ReportIndistinguishable(requests=2, detail="", callers=[]),
    )


def evidence(
    journals: Mapping[str, Sequence[Entry]], stolen: Sequence[Entry] | None = None
) -> Evidence:
    """Evidence in which Keyturn agrees with the journals."""
    stolen = STOLEN if stolen is None else stolen
    return Evidence(
        journals=journals,
        stolen=stolen,
        recorded=[record(one) for entries in (*journals.values(), stolen) for one in entries],
        hints=HINTS,
        replacement=replacement(),
        response=Response(
            service="worker",
            asked_at=ASKED,
            answered_at=ANSWERED,
            was_refused=True,
            incident=incident(),
            report=report(stolen),
            answers=2,
            tokens_shown=0,
        ),
        chapters=[Chapter("rotation", 10.0)],
    )


STOLEN = (
    entry("t1", 28.0),
    entry("t2", 29.0, 403),
    entry("t3", 30.015, 401),
    entry("t4", 33.0, 401),
)


def right() -> Evidence:
    """A story in which everything is as it must be."""
    return evidence(
        {
            "scheduler": [
                entry("s1", 5.0, key="old"),
                entry("s2", 12.0, key="new"),
                entry("s3", 18.0, key="new"),
            ],
            "admin": [entry("a1", 15.0, key="new")],
            "worker": [
                entry("w1", 12.0),
                entry("w2", 30.008),  # sent before the answer, accepted: that is no fault
                entry("w3", 30.004, 401),
                entry("w4", 30.02, 401),
                entry("w5", 31.0, 401),
                entry("w6", 31.5, key="healed"),
            ],
        }
    )


def with_entries(service: str, *more: Entry) -> Callable[[], Evidence]:
    def build() -> Evidence:
        journals = dict(right().journals)
        journals[service] = [*journals[service], *more]
        return evidence(journals)

    return build


def with_rotation(**changes: object) -> Callable[[], Evidence]:
    def build() -> Evidence:
        known = replacement()
        rotation = msgspec.structs.replace(known.rotation, **changes)
        return replace(right(), replacement=replace(known, rotation=rotation))

    return build


def with_replacement(**changes: Any) -> Callable[[], Evidence]:
    return lambda: replace(right(), replacement=replace(replacement(), **changes))


def with_response(**changes: Any) -> Callable[[], Evidence]:
    return lambda: replace(right(), response=replace(right().response, **changes))


def with_incident(**changes: object) -> Callable[[], Evidence]:
    return with_response(incident=msgspec.structs.replace(incident(), **changes))


def with_report(**changes: object) -> Callable[[], Evidence]:
    return with_response(report=msgspec.structs.replace(report(STOLEN), **changes))


def with_thief(*entries: Entry) -> Callable[[], Evidence]:
    return lambda: evidence(right().journals, entries)


def without(*request_ids: str) -> Evidence:
    return evidence(
        {
            name: [one for one in entries if one.request_id not in request_ids]
            for name, entries in right().journals.items()
        }
    )


def with_record(request_id: str, **changes: object) -> Evidence:
    found = right()
    return replace(
        found,
        recorded=[
            msgspec.structs.replace(one, **changes) if one.request_id == request_id else one
            for one in found.recorded
        ],
    )


def with_log(change: Callable[[list[RecordedRequest]], list[RecordedRequest]]) -> Evidence:
    found = right()
    return replace(found, recorded=change(list(found.recorded)))


def test_what_went_well_has_no_fault_and_exact_figures() -> None:
    figures = measure(right())
    assert faults(figures) == []
    assert figures == Figures(
        services={
            "scheduler": Tally(sent=3, served=3, refused=0, failed=0),
            "admin": Tally(sent=1, served=1, refused=0, failed=0),
            "worker": Tally(sent=6, served=3, refused=3, failed=0),
        },
        sent=10,
        served=7,
        sent_during_rotation=4,
        failed_during_rotation=0,
        failed_otherwise=0,
        started_by="keyturn rotations",
        has_started_by_itself=True,
        destination="openbao",
        destination_kind="vault",
        delivered_ms=500.0,
        first_use_ms=2_000.0,
        answers=4,
        tokens_shown=0,
        stragglers=["admin"],
        was_refused=True,
        has_retired_by_itself=True,
        move_to_retirement_ms=4_000.0,
        brownout_ms=2_000.0,
        lifts=0,
        incident=IncidentFigures(
            answered_ms=10.0,
            sent_after=4,
            tried=2,
            accepted_after=0,
            last_accepted_sent_ms=-2.0,
            last_acceptance_ms=3.0,
            first_refusal_ms=-1.0,
            thief=Tally(sent=4, served=1, refused=3, failed=0),
            strangers=["ua:curl at 203.0.113.66"],
            reported=4,
            misreported=0,
            is_complete=True,
            was_refused=True,
            is_closed=True,
            replaced_ms=250.0,
            used_ms=1_500.0,
            recovered_ms=2_000.0,
        ),
        logged=14,
        found_in_log=14,
        unknown_in_log=0,
        agreeing_with_log=14,
        median_ms=5.0,
        p99_ms=5.0,
        chapters=[Chapter("rotation", 10.0)],
    )


WRONG = [
    pytest.param(
        with_entries("worker", entry("late", 30.02)),
        "1 request got through after the incident's answer.",
        id="accepted-after-the-answer",
    ),
    pytest.param(
        with_thief(*STOLEN, entry("t5", 30.011)),
        "1 request got through after the incident's answer.",
        id="the-thief-accepted-after-the-answer",
    ),
    pytest.param(
        with_entries("scheduler", entry("f", 19.999, 401, "old"), entry("g", 14.0, None, "new")),
        "2 requests failed during the rotation; none may.",
        id="failed-during-the-rotation",
    ),
    pytest.param(
        with_entries("worker", entry("f", 9.996, 503)),
        "1 request failed during the rotation; none may.",
        id="answered-during-the-rotation",
    ),
    pytest.param(
        with_entries("worker", entry("f", 25.0, 401)),
        "1 request failed outside of the rotation; none may.",
        id="refused-before-the-containment",
    ),
    pytest.param(
        with_entries("worker", entry("f", 31.0, None)),
        "1 request failed outside of the rotation; none may.",
        id="no-answer-after-the-containment",
    ),
    pytest.param(
        with_entries("worker", entry("f", 32.0, 401, "healed")),
        "1 request failed outside of the rotation; none may.",
        id="refused-with-the-replacement",
    ),
    pytest.param(
        with_entries("scheduler", entry("f", 31.0, 401, "new")),
        "1 request failed outside of the rotation; none may.",
        id="another-service-is-refused",
    ),
    pytest.param(
        lambda: without("s2", "s3", "a1", "w1"),
        "Nothing was sent during the rotation, so it proves nothing.",
        id="no-traffic-during-the-rotation",
    ),
    pytest.param(
        lambda: replace(right(), replacement=replace(replacement(), stragglers=())),
        "Nobody was waited for, so it proves nothing.",
        id="nobody-waited-for",
    ),
    pytest.param(
        lambda: replace(right(), replacement=replace(replacement(), was_refused=False)),
        "The rotation was ended while somebody was waited for.",
        id="ended-while-somebody-was-waited-for",
    ),
    pytest.param(
        with_replacement(started=started("operator", "ada")),
        "The rotation was started by a person, and not by its schedule.",
        id="started-by-a-person",
    ),
    pytest.param(
        with_replacement(started=None),
        "The rotation was started by a person, and not by its schedule.",
        id="started-by-nobody-that-is-known",
    ),
    pytest.param(
        with_rotation(deliveries=[]),
        "The new token was not delivered.",
        id="not-delivered",
    ),
    pytest.param(
        with_rotation(deliveries=[delivery(), delivery("waiting")]),
        "The new token was not delivered.",
        id="delivered-in-part",
    ),
    pytest.param(
        lambda: without("s2", "s3", "a1"),
        "No service has used the new token.",
        id="never-used",
    ),
    pytest.param(
        with_rotation(started_at=START + timedelta(seconds=12.5)),
        "No service has used the new token.",
        id="used-before-its-start",
    ),
    pytest.param(
        with_replacement(tokens_shown=1),
        "A person was shown a token that is delivered.",
        id="shown-to-a-person",
    ),
    pytest.param(
        with_response(tokens_shown=1),
        "A person was shown a token that is delivered.",
        id="the-replacement-shown-to-a-person",
    ),
    pytest.param(
        with_replacement(answers=1),
        "Nobody asked for a new token, so it proves nothing.",
        id="nobody-asked-for-the-token",
    ),
    pytest.param(
        with_rotation(forced=True),
        "The old key did not retire by itself.",
        id="ended-by-force",
    ),
    pytest.param(
        with_rotation(state="rolled_back"),
        "The old key did not retire by itself.",
        id="rolled-back",
    ),
    pytest.param(
        with_rotation(completed_at=START + timedelta(seconds=14.9)),
        "The old key was not retired after each service had moved.",
        id="retired-before-the-last-one-moved",
    ),
    pytest.param(
        lambda: without("a1"),
        "The old key was not retired after each service had moved.",
        id="retired-though-one-never-moved",
    ),
    pytest.param(
        lambda: replace(right(), replacement=replace(replacement(), browned_out_at=None)),
        "The old key was retired without a brown-out.",
        id="no-brown-out",
    ),
    pytest.param(
        with_rotation(lifts=1),
        "The brown-out hit a service that had moved, and was lifted.",
        id="lifted",
    ),
    pytest.param(
        with_thief(*STOLEN[:2]),
        "The thief did not try again, so it proves nothing.",
        id="the-thief-gave-up",
    ),
    pytest.param(
        with_thief(*STOLEN[1:]),
        "The thief got at nothing, so it proves nothing.",
        id="the-thief-got-at-nothing",
    ),
    pytest.param(
        with_report(requests=report(STOLEN[1:]).requests),
        "The report misses 1 request of the thief.",
        id="missing-in-the-report",
    ),
    pytest.param(
        with_report(requests=report([*STOLEN, entry("w1", 12.0)]).requests),
        "The report lays 1 request on a thief who did not send them.",
        id="an-innocent-in-the-report",
    ),
    pytest.param(
        with_report(requests_total=6),
        "The report lays 2 requests on a thief who did not send them.",
        id="the-report-counts-more",
    ),
    pytest.param(
        with_report(complete=False),
        "The report is not complete.",
        id="the-report-is-not-complete",
    ),
    pytest.param(
        with_report(runtimes=report(STOLEN).runtimes[:1]),
        "The report names nobody who is not ours.",
        id="the-thief-is-not-named",
    ),
    pytest.param(
        with_response(was_refused=False),
        "The incident was closed too early.",
        id="closed-too-early",
    ),
    pytest.param(
        with_incident(state="recovering"),
        "The incident was not closed.",
        id="never-closed",
    ),
    pytest.param(
        with_incident(outcome="false_alarm"),
        "The incident was not closed.",
        id="closed-as-a-false-alarm",
    ),
    pytest.param(
        with_incident(seconds=IncidentSeconds(contain=0.01)),
        "The leaked key was not replaced.",
        id="not-replaced",
    ),
    pytest.param(
        with_incident(seconds=IncidentSeconds(contain=0.01, replace=0.25)),
        "The worker did not recover.",
        id="not-recovered",
    ),
    pytest.param(
        with_incident(seconds=IncidentSeconds(contain=0.01, replace=0.25, recover=1.49)),
        "The worker counted as recovered before it used its new key.",
        id="recovered-before-it-was-seen",
    ),
    pytest.param(
        lambda: without("w6"),
        "The worker was not seen with its new key.",
        id="never-seen-with-the-replacement",
    ),
    pytest.param(
        lambda: with_log(lambda log: [one for one in log if one.request_id != "w4"]),
        "1 request cannot be found in the request log by id.",
        id="missing-in-the-log",
    ),
    pytest.param(
        lambda: with_log(lambda log: [*log, msgspec.structs.replace(log[0], request_id="x")]),
        "The request log has 1 request that nobody sent.",
        id="sent-by-nobody",
    ),
    pytest.param(
        lambda: with_record("w4", valid=True),
        "The request log tells 1 request otherwise than it was.",
        id="logged-as-accepted",
    ),
    pytest.param(
        lambda: with_record("s1", valid=False),
        "The request log tells 1 request otherwise than it was.",
        id="logged-as-denied",
    ),
    pytest.param(
        lambda: with_record("s2", key_id="key-old"),
        "The request log tells 1 request otherwise than it was.",
        id="logged-under-another-key",
    ),
    pytest.param(
        lambda: with_log(lambda log: [*log, msgspec.structs.replace(log[0], valid=False)]),
        "The request log tells 1 request otherwise than it was.",
        id="logged-twice-and-differently",
    ),
]


@pytest.mark.parametrize(("build", "sentence"), WRONG)
def test_a_figure_that_is_wrong_is_marked_and_said(
    build: Callable[[], Evidence], sentence: str
) -> None:
    figures = measure(build())
    assert sentence in faults(figures)
    assert [line.fault for line in lines(figures) if line.fault] == faults(figures)
    assert all(line.must_hold for line in lines(figures) if line.fault)


def test_figures_survive_being_written_as_json() -> None:
    figures = measure(right())
    assert msgspec.json.decode(msgspec.json.encode(figures), type=Figures) == figures
