"""Recovery: who a caller of a contained key is, and whether what it did is done with another."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.evidence import Use
from keyturn.domain.incident import (
    LOOKBACK_SECONDS,
    Because,
    CallerStanding,
    ContainedKey,
    Outcome,
    Placement,
)
from keyturn.domain.instant import SECOND
from keyturn.domain.key import KeyState
from keyturn.domain.recovery import (
    NOWHERE,
    Addresses,
    KeyRecovery,
    judge_key,
    tell_next_step,
)
from keyturn.domain.runtime import NamedNetwork
from keyturn.domain.slot import ExpectedRuntime
from keyturn.testing.ambience import SOME_TIME
from keyturn.testing.storage import making

KEY = making.contained(1)
NEW = making.id_of(2)
REPLACED = KEY.replaced(NEW, SOME_TIME + 10)
BEFORE, AFTER = SOME_TIME - 10 * SECOND, SOME_TIME + 10 * SECOND
WORKER = (ExpectedRuntime(name="worker", max_call_interval_seconds=None),)
HOME = (NamedNetwork(name="home", cidrs=("192.0.2.0/24",)),)


def use(
    runtime: str = "worker",
    *,
    key_id: object = KEY.key_id,
    declared: bool = True,
    place: str | None = None,
    seen: int | None = BEFORE,
    denied: int | None = None,
) -> Use:
    return Use(
        key_id=making.id_of(1) if key_id is KEY.key_id else NEW,
        runtime=runtime,
        declared=declared,
        environment=None,
        place=place,
        first_seen_at=seen,
        last_seen_at=seen,
        last_denied_at=denied,
        checked_in_at=None,
        longest_gap=None,
        allowed=1,
        denied=0,
    )


def new_use(runtime: str = "worker", **members: object) -> Use:
    given_ = {"key_id": NEW, "seen": AFTER, **members}
    return use(runtime, **given_)  # type: ignore[arg-type]


def placed(runtime: str, standing: str, network: str | None = None) -> Placement:
    return Placement(
        runtime=runtime,
        network=network,
        standing=CallerStanding(standing),
        by="ada",
        at=SOME_TIME,
    )


def judge(
    *uses: Use,
    key: ContainedKey = REPLACED,
    placements: tuple[Placement, ...] = (),
    expected: tuple[ExpectedRuntime, ...] = WORKER,
    networks: tuple[NamedNetwork, ...] = (),
    addresses: Addresses = NOWHERE,
) -> KeyRecovery:
    old = [one for one in uses if one.key_id == key.key_id]
    new = [one for one in uses if one.key_id != key.key_id]
    return judge_key(key, placements, old, new, expected, networks, addresses)


def standings(recovery: KeyRecovery) -> dict[tuple[str, str | None], str]:
    return {(one.runtime, one.network): one.standing.value for one in recovery.callers}


def test_a_caller_is_registered_placed_declared_or_inferred() -> None:
    found = judge(
        use("worker"),
        use("cron"),
        use("ua:curl", declared=False),
        use("mine"),
        use("thief"),
        placements=(placed("mine", "ours"), placed("thief", "intruder")),
    )
    assert standings(found) == {
        ("worker", None): "ours",
        ("cron", None): "claimed",
        ("ua:curl", None): "suspect",
        ("mine", None): "ours",
        ("thief", None): "intruder",
    }


def test_an_inferred_name_that_somebody_declares_is_not_the_registered_one() -> None:
    expected = (ExpectedRuntime(name="ua:curl", max_call_interval_seconds=None),)
    found = judge(use("ua:curl", declared=True), expected=expected)
    assert standings(found) == {("ua:curl", None): "claimed"}
    found = judge(use("ua:curl", declared=False), expected=expected)
    assert standings(found) == {("ua:curl", None): "ours"}


def test_a_word_on_a_place_counts_before_one_on_all() -> None:
    uses = (use(place="home"), use(place="198.51.0.0/16"))
    found = judge(
        *uses,
        placements=(placed("worker", "ours"), placed("worker", "intruder", "198.51.100.9")),
        networks=HOME,
    )
    assert standings(found) == {("worker", "home"): "ours", ("worker", "198.51.0.0/16"): "intruder"}
    named = judge(*uses, placements=(placed("worker", "intruder", "192.0.2.7"),), networks=HOME)
    assert standings(named)[("worker", "home")] == "intruder"
    # Another address of that place was seen, which nobody spoke of: it may be ours.
    seen: Addresses = {("worker", "198.51.0.0/16"): frozenset({"198.51.100.9", "198.51.100.7"})}
    thief = (placed("worker", "intruder", "198.51.100.9"),)
    assert standings(judge(*uses, placements=thief))[("worker", "198.51.0.0/16")] == "intruder"
    found = judge(*uses, placements=thief, addresses=seen)
    assert standings(found)[("worker", "198.51.0.0/16")] == "ours"
    thieves = (*thief, placed("worker", "intruder", "198.51.100.7"))
    found = judge(*uses, placements=thieves, addresses=seen)
    assert standings(found)[("worker", "198.51.0.0/16")] == "intruder"
    both = (
        placed("worker", "intruder", "198.51.100.9"),
        placed("worker", "ours", "198.51.100.8"),
    )
    assert standings(judge(*uses, placements=both))[("worker", "198.51.0.0/16")] == "ours"


@pytest.mark.parametrize(
    ("uses", "recovered"),
    [
        ((use(),), False),
        ((use(), new_use()), True),
        ((use(), new_use(denied=AFTER)), True),
        ((use(), new_use(denied=AFTER + 1)), False),
        ((use(), new_use(seen=None, denied=AFTER)), False),
        ((use(), new_use("other")), False),
        ((use(), new_use(declared=False)), False),
        ((use(place="a"), new_use(place="b")), True),
        ((use(), use("cron"), new_use(), new_use("cron")), False),
        ((use(), use("ua:curl", declared=False), new_use()), True),
        ((), True),
    ],
)
def test_a_key_has_recovered_when_each_of_ours_has_and_none_is_left_to_be_placed(
    uses: tuple[Use, ...], recovered: bool
) -> None:
    assert judge(*uses).is_recovered is recovered
    assert judge(*uses, key=KEY).is_recovered is False


def test_who_used_it_long_ago_is_not_waited_for() -> None:
    edge = REPLACED.contained_at - LOOKBACK_SECONDS * SECOND
    assert judge(use(seen=edge - 1)).is_recovered
    assert not judge(use(seen=edge)).is_recovered


def test_what_an_intruder_does_with_the_replacement_counts_for_nothing() -> None:
    intruder = (placed("worker", "intruder", "away"), placed("worker", "ours"))
    uses = (use(place="home"), use(place="away"))
    assert not judge(*uses, new_use(place="away"), placements=intruder).is_recovered
    found = judge(
        *uses,
        new_use(place="home"),
        new_use(place="away", denied=AFTER + 9),
        placements=intruder,
    )
    assert found.is_recovered


def test_what_a_contained_key_made_needs_no_replacement_where_only_intruders_used_it() -> None:
    made = replace(KEY, because=Because.MADE_BY_CONTAINED)
    assert judge(key=made).is_recovered
    assert not judge(use("ua:curl", declared=False), key=made).is_recovered
    thief = (placed("ua:curl", "intruder"),)
    assert judge(use("ua:curl", declared=False), key=made, placements=thief).is_recovered


def test_rights_that_were_taken_away_before_are_not_given_again_for_nothing() -> None:
    dead = replace(KEY, state_before=KeyState.REVOKED)
    assert judge(key=dead).is_recovered
    # Somebody used it lately: it was revoked in haste, and what it did is still to be done.
    assert judge(use(), key=dead).needs_replacement
    assert not judge(use(), key=dead).is_recovered
    # Another had taken its place before: who is there has recovered.
    succeeded = judge_key(dead, (), [use()], [new_use()], WORKER, (), is_succeeded=True)
    assert not succeeded.needs_replacement
    assert succeeded.is_recovered
    assert not judge_key(dead, (), [use()], [], WORKER, (), is_succeeded=True).is_recovered


runtimes = st.sampled_from(["worker", "cron", "thief"])
places = st.sampled_from([None, "home", "away"])
moments = st.none() | st.integers(SOME_TIME - 100, SOME_TIME + 100)
old_uses = st.builds(use, runtimes, place=places, seen=moments, denied=moments)
new_uses = st.builds(new_use, runtimes, place=places, seen=moments, denied=moments)
words = st.builds(placed, runtimes, st.sampled_from(["ours", "intruder"]), places)


@given(
    st.lists(old_uses, max_size=6),
    st.lists(new_uses, max_size=6),
    st.lists(words, max_size=4).map(tuple),
)
def test_recovered_means_that_nobody_of_ours_is_missing(
    old: list[Use], new: list[Use], said: tuple[Placement, ...]
) -> None:
    found = judge(*old, *new, placements=said)
    ours = {one.runtime for one in found.callers if one.standing is CallerStanding.OURS}
    allowed = {one.runtime for one in new if one.last_seen_at is not None}
    if found.is_recovered:
        assert ours <= allowed
        assert all(one.standing is not CallerStanding.CLAIMED for one in found.callers)
    # More uses of the old key, or a denial on the new one, never make it recovered.
    more = judge(*old, use("worker"), *new, placements=said)
    if not found.is_recovered and "worker" not in allowed:
        assert not more.is_recovered
    late = [replace(one, last_denied_at=SOME_TIME + 1_000) for one in new]
    if judge(*old, *late, placements=said).is_recovered:
        assert found.is_recovered
    # The order in which rows are read decides nothing.
    assert judge(*old[::-1], *new[::-1], placements=said) == found


def test_the_next_step_is_one_and_goes_from_the_replacement_to_the_end() -> None:
    incident, now = making.incident(1).counted(SOME_TIME), SOME_TIME + 100 * SECOND

    def step(*uses: Use, key: ContainedKey = REPLACED, **members: object) -> str:
        recovery = judge(*uses, key=key, **members)  # type: ignore[arg-type]
        judged = recovery.key.judged(recovery.is_recovered, now)
        return tell_next_step(incident, [replace(recovery, key=judged)], now)

    assert step(use(), key=KEY) == "Make a replacement for key 1."
    assert "Say whether cron at home" in step(use("cron", place="home"))
    assert "Bring the replacement of key 1 to worker" in step(use())
    assert "See to worker" in step(use(), new_use(denied=AFTER + 1))
    assert step(use(), new_use()) == "Close it: every key is recovered or waived."
    assert "nobody was seen" in step()
    closed = incident.closed((), Outcome.FALSE_ALARM, "ada", now)
    assert "stays so" in tell_next_step(closed, [], now)
    closed = incident.closed((), Outcome.CONFIRMED, "ada", now)
    assert "Nothing" in tell_next_step(closed, [], now)
