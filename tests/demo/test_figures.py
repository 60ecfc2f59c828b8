"""The figures tell what happened, and each of them can be wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from keyturn.client import RecordedRequest
from keyturn.demo.figures import Chapter, Evidence, Figures, Revocation, Tally, measure
from keyturn.demo.journal import Entry
from keyturn.demo.table import faults, lines

ROTATION = (10.0, 20.0)
ASKED, ANSWERED = 30.0, 30.01
HINTS = {"key-old": "kt_prod_old", "key-new": "kt_prod_new", "key-worker": "kt_prod_worker"}


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
        at=datetime(2026, 1, 1, tzinfo=UTC),
        key_id=next(id_ for id_, hint in HINTS.items() if hint == of.key_hint),
        valid=of.is_served,
        code="valid" if of.is_served else "revoked",
        runtime="worker",
        declared=True,
        scopes=[],
    )


def evidence(journals: Mapping[str, Sequence[Entry]]) -> Evidence:
    """Evidence in which the log agrees with the journals."""
    return Evidence(
        journals=journals,
        recorded=[record(one) for entries in journals.values() for one in entries],
        hints=HINTS,
        rotation=ROTATION,
        revocation=Revocation(service="worker", asked_at=ASKED, answered_at=ANSWERED),
        chapters=[Chapter("rotation", 10.0)],
    )


def right() -> Evidence:
    """A story in which everything is as it must be."""
    return evidence(
        {
            "scheduler": [entry("s1", 5.0, key="old"), entry("s2", 15.0, key="new")],
            "worker": [
                entry("w1", 12.0),
                entry("w2", 30.008),  # sent before the answer, accepted: that is no fault
                entry("w3", 30.004, 401),
                entry("w4", 30.02, 401),
                entry("w5", 31.0, 401),
            ],
        }
    )


def with_entries(service: str, *more: Entry) -> Callable[[], Evidence]:
    def build() -> Evidence:
        journals = dict(right().journals)
        journals[service] = [*journals[service], *more]
        return evidence(journals)

    return build


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
            "scheduler": Tally(sent=2, served=2, refused=0, failed=0),
            "worker": Tally(sent=5, served=2, refused=3, failed=0),
        },
        sent=7,
        served=4,
        sent_during_rotation=2,
        failed_during_rotation=0,
        failed_otherwise=0,
        revocation_ms=10.0,
        sent_after_revocation=2,
        accepted_after_revocation=0,
        last_accepted_sent_ms=-2.0,
        last_acceptance_ms=3.0,
        first_refusal_ms=-1.0,
        found_in_log=7,
        unknown_in_log=0,
        agreeing_with_log=7,
        median_ms=5.0,
        p99_ms=5.0,
        chapters=[Chapter("rotation", 10.0)],
    )


WRONG = [
    pytest.param(
        with_entries("worker", entry("late", 30.02)),
        "1 request got through after the revocation's answer.",
        id="accepted-after-the-answer",
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
        id="refused-before-the-revocation",
    ),
    pytest.param(
        with_entries("worker", entry("f", 31.0, None)),
        "1 request failed outside of the rotation; none may.",
        id="no-answer-after-the-revocation",
    ),
    pytest.param(
        with_entries("scheduler", entry("f", 31.0, 401, "new")),
        "1 request failed outside of the rotation; none may.",
        id="another-service-is-refused",
    ),
    pytest.param(
        lambda: without("s2", "w1"),
        "Nothing was sent during the rotation, so it proves nothing.",
        id="no-traffic-during-the-rotation",
    ),
    pytest.param(
        lambda: without("w4", "w5"),
        "Nothing was sent after the revocation, so it proves nothing.",
        id="no-traffic-after-the-revocation",
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
