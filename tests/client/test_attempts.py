"""What is sent again and what is not, and after how long: driven by hand, with no server."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.client import (
    NO_RETRY,
    ApiError,
    ConfigurationFault,
    Conflict,
    RetryPolicy,
    Unavailable,
    Unreachable,
)
from keyturn.client.activity import list_activity
from keyturn.client.attempts import Attempts
from keyturn.client.call import Answer, Call
from keyturn.client.health import look_at_health, look_at_server, measure_server
from keyturn.client.keys import (
    change_key,
    create_key,
    list_keys,
    read_key,
    resume_key,
    revoke_key,
    suspend_key,
    trace_key,
)
from keyturn.client.requests import list_requests, measure_usage
from keyturn.client.slots import define_slot, list_slots, read_slot
from keyturn.client.verify import look_at_self, verify
from keyturn.client.workspaces import (
    change_workspace,
    create_workspace,
    list_workspaces,
    read_workspace,
)
from keyturn.testing import FakeClock, SeededEntropy
from keyturn.testing.ambience import SOME_TIME
from tests.client.driving import KEY, LOST, TOKEN, UNSENT, answer, drive, problem

REPEATED: dict[str, Callable[[], Call[Any]]] = {
    "create_key": lambda: create_key("a"),
    "list_keys": lambda: list_keys().first,
    "read_key": lambda: read_key("a"),
    "change_key": lambda: change_key("a", name="b"),
    "revoke_key": lambda: revoke_key("a"),
    "revoke_key of a version": lambda: revoke_key("a", version=3),
    "suspend_key": lambda: suspend_key("a"),
    "suspend_key of a version": lambda: suspend_key("a", version=3),
    "resume_key": lambda: resume_key("a"),
    "trace_key": lambda: trace_key("a"),
    "list_slots": lambda: list_slots().first,
    "read_slot": lambda: read_slot("a"),
    "define_slot": lambda: define_slot("a"),
    "create_workspace": lambda: create_workspace("a"),
    "list_workspaces": lambda: list_workspaces().first,
    "read_workspace": lambda: read_workspace("a"),
    "change_workspace": lambda: change_workspace("a", name="b"),
    "list_requests": lambda: list_requests().first,
    "measure_usage": lambda: measure_usage("a"),
    "list_activity": lambda: list_activity().first,
    "verify": lambda: verify(TOKEN),
    "look_at_self": look_at_self,
    "look_at_server": look_at_server,
    "look_at_health": look_at_health,
    "measure_server": measure_server,
}
ONCE: dict[str, Callable[[], Call[Any]]] = {
    "change_key of a version": lambda: change_key("a", version=3, name="b"),
    "define_slot of a version": lambda: define_slot("a", version=3),
    "define_slot of a new one": lambda: define_slot("a", is_new=True),
    "change_workspace of a version": lambda: change_workspace("a", version=3, name="b"),
}
PASSING = (408, 429, 502, 503, 504)


@pytest.mark.parametrize("name", REPEATED)
def test_what_may_be_repeated_is_sent_again_after_a_lost_answer(name: str) -> None:
    driven = drive(REPEATED[name](), [LOST], retry=RetryPolicy(most_attempts=3))
    assert len(driven.sent) == 3
    error = driven.raised()
    assert isinstance(error, Unreachable)
    assert error.was_sent


@pytest.mark.parametrize("name", ONCE)
def test_a_change_of_one_version_is_not_sent_again_once_it_may_have_been_carried_out(
    name: str,
) -> None:
    driven = drive(ONCE[name](), [LOST])
    assert len(driven.sent) == 1
    error = driven.raised()
    assert isinstance(error, Unreachable)
    assert error.was_sent
    for status in PASSING:
        assert len(drive(ONCE[name](), [problem(status)]).sent) == 1


@pytest.mark.parametrize("name", [*REPEATED, *ONCE])
def test_what_never_left_is_sent_again_whatever_it_is(name: str) -> None:
    call = {**REPEATED, **ONCE}[name]()
    driven = drive(call, [UNSENT], retry=RetryPolicy(most_attempts=2))
    assert len(driven.sent) == 2
    error = driven.raised()
    assert isinstance(error, Unreachable)
    assert not error.was_sent


@pytest.mark.parametrize("status", PASSING)
def test_a_passing_refusal_is_waited_out(status: int) -> None:
    driven = drive(read_key("a"), [problem(status), answer(200, KEY)])
    assert driven.given().id == KEY["id"]
    assert len(driven.sent) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 413, 415, 422, 500, 501])
def test_a_refusal_that_stays_is_not_repeated(status: int) -> None:
    driven = drive(read_key("a"), [problem(status)])
    assert len(driven.sent) == 1
    error = driven.raised()
    assert isinstance(error, ApiError)
    assert error.status == status


def test_a_call_whose_first_sending_still_runs_is_waited_for() -> None:
    driven = drive(
        create_key("a"),
        [problem(409, "idempotency.running"), answer(201, {**KEY, "api_key": None})],
    )
    assert driven.given().id == KEY["id"]
    terminal = drive(create_key("a"), [problem(409, "key.terminal")])
    assert len(terminal.sent) == 1
    assert isinstance(terminal.raised(), Conflict)


def test_a_sentence_that_speaks_of_a_running_call_is_no_running_call() -> None:
    body = {"detail": 'It is not "idempotency.running".'}
    assert len(drive(read_key("a"), [problem(409, body=body)]).sent) == 1


@pytest.mark.parametrize("call", [create_key("a"), suspend_key("a"), create_workspace("a")])
def test_all_attempts_of_a_call_have_one_idempotency_key_and_one_request_id(
    call: Call[Any],
) -> None:
    driven = drive(call, [LOST])
    assert len(driven.sent) >= 4
    assert len({one.headers["Idempotency-Key"] for one in driven.sent}) == 1
    assert len({one.headers["X-Request-Id"] for one in driven.sent}) == 1
    again = drive(call, [LOST], seed=1)
    assert again.sent[0].headers["Idempotency-Key"] != driven.sent[0].headers["Idempotency-Key"]
    assert again.sent[0].headers["X-Request-Id"] != driven.sent[0].headers["X-Request-Id"]


def test_an_idempotency_key_of_the_caller_is_taken() -> None:
    driven = drive(create_key("a", idempotency_key="mine"), [LOST])
    assert {one.headers["Idempotency-Key"] for one in driven.sent} == {"mine"}


@pytest.mark.parametrize("name", [name for name in REPEATED if "create" not in name])
def test_only_what_makes_or_moves_something_has_an_idempotency_key(name: str) -> None:
    [sent] = drive(REPEATED[name](), [LOST], retry=NO_RETRY).sent
    assert ("Idempotency-Key" in sent.headers) is name.startswith(("suspend", "resume"))


@given(seed=st.integers(0, 2**32), told=st.integers(0, 5))
def test_no_wait_is_shorter_than_told_nor_longer_by_more_than_its_ceiling(
    seed: int, told: int
) -> None:
    policy = RetryPolicy(most_attempts=5, backoff_seconds=0.5, patience_seconds=60)
    driven = drive(read_key("a"), [problem(503, retry_after=str(told))], retry=policy, seed=seed)
    assert len(driven.waits) == 4
    for waited, ceiling in zip(driven.waits, (0.5, 1.0, 2.0, 4.0), strict=True):
        assert told <= waited <= told + ceiling


@given(seed=st.integers(0, 2**32), attempts=st.integers(1, 12))
def test_waits_without_a_word_of_the_server_grow_up_to_five_seconds(
    seed: int, attempts: int
) -> None:
    policy = RetryPolicy(most_attempts=attempts, patience_seconds=1e6)
    driven = drive(read_key("a"), [LOST], retry=policy, seed=seed)
    assert len(driven.sent) == attempts
    for number, waited in enumerate(driven.waits):
        assert 0 <= waited <= min(5.0, 0.1 * 2**number)


def test_callers_that_failed_together_do_not_come_back_together() -> None:
    waits = {drive(read_key("a"), [LOST], seed=seed).waits[0] for seed in range(50)}
    assert len(waits) == 50


@pytest.mark.parametrize(
    "zone", ["GMT", "-0000", "+0000", ""], ids=["gmt", "minus", "plus", "without"]
)
def test_a_date_in_retry_after_is_in_gmt_and_judged_by_our_clock(zone: str) -> None:
    moment = datetime.fromtimestamp(SOME_TIME / 1e6 + 7, UTC)
    told = format_datetime(moment, usegmt=True).replace("GMT", zone).strip()
    driven = drive(read_key("a"), [problem(503, retry_after=told)], retry=NO_RETRY)
    error = driven.raised()
    assert isinstance(error, Unavailable)
    assert error.retry_after_seconds == pytest.approx(7, abs=1)


def test_a_date_in_retry_after_may_have_another_zone() -> None:
    there = timezone(timedelta(hours=2))
    moment = datetime.fromtimestamp(SOME_TIME / 1e6 + 7, there)
    driven = drive(read_key("a"), [problem(503, retry_after=format_datetime(moment))])
    assert driven.waits[0] == pytest.approx(7, abs=1.2)


def test_a_date_that_has_passed_asks_for_no_wait() -> None:
    told = "Wed, 21 Oct 2015 07:28:00 GMT"
    error = drive(read_key("a"), [problem(429, retry_after=told)], retry=NO_RETRY).raised()
    assert isinstance(error, Unavailable)
    assert error.retry_after_seconds == 0


@given(
    st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,12} [A-Z][a-z]{2} \d{1,9}.{0,20}")
)
def test_whatever_retry_after_says_is_time_to_wait_or_nothing(told: str) -> None:
    attempts = Attempts(RetryPolicy(), FakeClock(), SeededEntropy(), may_repeat=True)
    reply = Answer(status=503, headers={"retry-after": told}, content=b"")
    seconds = attempts.retry_after_seconds(reply)
    assert seconds is None or 0 <= seconds < 1e12


@pytest.mark.parametrize("told", ["31", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_who_is_told_to_wait_beyond_his_patience_is_told_at_once(told: str) -> None:
    driven = drive(read_key("a"), [problem(503, retry_after=told)])
    assert len(driven.sent) == 1
    assert driven.waits == []
    assert isinstance(driven.raised(), Unavailable)


def test_patience_bounds_all_waits_together() -> None:
    policy = RetryPolicy(most_attempts=100, patience_seconds=10)
    driven = drive(read_key("a"), [problem(503, retry_after="3")], retry=policy)
    assert sum(driven.waits) <= 10
    assert 1 < len(driven.sent) <= 4


def test_no_retry_is_one_attempt() -> None:
    assert len(drive(read_key("a"), [UNSENT], retry=NO_RETRY).sent) == 1


def test_very_many_attempts_are_no_overflow() -> None:
    policy = RetryPolicy(most_attempts=1200, backoff_seconds=0.0001, patience_seconds=1e9)
    assert len(drive(read_key("a"), [LOST], retry=policy).sent) == 1200


@pytest.mark.parametrize(
    "members",
    [
        {"most_attempts": 0},
        {"backoff_seconds": -1.0},
        {"patience_seconds": float("nan")},
        {"patience_seconds": float("inf")},
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused(members: dict[str, float]) -> None:
    with pytest.raises(ConfigurationFault):
        RetryPolicy(**members)  # type: ignore[arg-type]
