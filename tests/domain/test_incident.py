"""The incident: its states follow from what happened, and it closes over nothing that is open."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.error import IncidentClosed, IncidentKeysOpen, RequestInvalid
from keyturn.domain.incident import (
    MOST_PLACEMENTS,
    CallerStanding,
    ContainedKey,
    Containment,
    IncidentState,
    Outcome,
    Placement,
    Waiver,
    hash_keys,
    is_counted,
    placed_standing,
    state_of,
)
from keyturn.domain.key import KeyState
from keyturn.testing.ambience import SOME_TIME
from keyturn.testing.storage import making

NOW = SOME_TIME + 1_000
LATER = NOW + 1_000
INCIDENT = making.incident(1)


def key(
    number: int, *, replaced: bool = False, recovered: bool = False, waived_until: int | None = None
) -> ContainedKey:
    made = making.contained(number)
    if replaced:
        made = made.replaced(making.id_of(100 + number), NOW)
    if recovered:
        made = made.judged(recovered=True, now=NOW)
    if waived_until is not None:
        waiver = Waiver(reason="Gone.", until=waived_until, by="ada", at=NOW)
        made = made.waived(waiver, NOW)
    return made


BARE, REPLACED = key(1), key(2, replaced=True)
RECOVERED = key(3, replaced=True, recovered=True)
WAIVED, RUN_OUT = key(4, waived_until=LATER), key(5, waived_until=NOW)


@pytest.mark.parametrize(
    ("keys", "counted", "state"),
    [
        ((BARE,), False, "contained"),
        ((BARE,), True, "investigating"),
        ((BARE, WAIVED), True, "investigating"),
        ((BARE, REPLACED), True, "replacing"),
        ((BARE, REPLACED), False, "replacing"),
        ((BARE, RECOVERED), True, "replacing"),
        ((REPLACED,), True, "recovering"),
        ((REPLACED, WAIVED), True, "recovering"),
        ((RECOVERED,), True, "recovering"),
        ((WAIVED,), False, "recovering"),
        ((RUN_OUT,), True, "investigating"),
        ((REPLACED, RUN_OUT), True, "replacing"),
    ],
)
def test_where_it_stands_follows_from_what_happened(
    keys: tuple[ContainedKey, ...], counted: bool, state: str
) -> None:
    incident = INCIDENT.counted(NOW) if counted else INCIDENT
    assert state_of(incident, keys, NOW) == state


@given(st.lists(st.sampled_from([BARE, REPLACED, RECOVERED, WAIVED, RUN_OUT]), min_size=1))
def test_confirmed_it_closes_exactly_where_every_key_is_settled(keys: list[ContainedKey]) -> None:
    settled = all(one in (RECOVERED, WAIVED) for one in keys)
    if settled:
        closed = INCIDENT.closed(keys, Outcome.CONFIRMED, "ada", NOW)
        assert (closed.state, closed.closed_at, closed.closed_by) == ("closed", NOW, "ada")
        assert state_of(closed, keys, LATER * 2) is IncidentState.CLOSED
    else:
        with pytest.raises(IncidentKeysOpen) as refused:
            INCIDENT.closed(keys, Outcome.CONFIRMED, "ada", NOW)
        named = {id_ for id_, _ in refused.value.keys}
        assert named == {str(one.key_id) for one in keys if one not in (RECOVERED, WAIVED)}


@pytest.mark.parametrize("state", KeyState)
def test_a_false_alarm_closes_over_what_the_incident_has_not_revoked(state: KeyState) -> None:
    given_back = replace(INCIDENT, containment=Containment.SUSPEND)
    was = replace(BARE, state_before=state)
    assert not given_back.closed((was,), Outcome.FALSE_ALARM, "ada", NOW).is_open
    if state is KeyState.REVOKED:
        assert not INCIDENT.closed((was,), Outcome.FALSE_ALARM, "ada", NOW).is_open
    else:
        with pytest.raises(IncidentKeysOpen):
            INCIDENT.closed((was,), Outcome.FALSE_ALARM, "ada", NOW)
        assert not INCIDENT.closed((WAIVED,), Outcome.FALSE_ALARM, "ada", NOW).is_open


def test_closed_it_stays_as_it_is() -> None:
    closed = INCIDENT.closed((RECOVERED,), Outcome.CONFIRMED, "ada", NOW)
    assert closed.closed((BARE,), Outcome.FALSE_ALARM, "eve", LATER) is closed
    with pytest.raises(IncidentClosed):
        closed.placed(placement("worker", None))


@given(st.permutations([BARE, REPLACED, RECOVERED]))
def test_the_hash_is_of_the_keys_and_their_versions_in_any_order(keys: list[ContainedKey]) -> None:
    assert hash_keys(keys) == hash_keys([BARE, REPLACED, RECOVERED])
    for fewer in (keys[1:], keys[:-1], []):
        assert hash_keys(fewer) != hash_keys(keys)
    changed = [keys[0].judged(keys[0].recovered_at is None, LATER), *keys[1:]]
    assert hash_keys(changed) != hash_keys(keys)


def test_it_changes_where_its_keys_do_and_else_not() -> None:
    over = INCIDENT.over((BARE,), NOW)
    assert over.version == INCIDENT.version + 1
    assert over.over((BARE,), LATER) is over
    counted = over.counted(NOW)
    assert (counted.counted(LATER), counted.counted_at) == (counted, NOW)
    assert counted.standing_at(counted.state, LATER) is counted


def test_a_key_is_judged_once_for_each_change() -> None:
    assert BARE.judged(recovered=False, now=NOW) is BARE
    recovered = BARE.judged(recovered=True, now=NOW)
    assert recovered.judged(recovered=True, now=LATER) is recovered
    assert recovered.judged(recovered=False, now=LATER).recovered_at is None


def test_every_request_up_to_the_containment_is_known_once_later_ones_are() -> None:
    at = INCIDENT.contained_at
    assert [is_counted(INCIDENT, until) for until in (at - 1, at, at + 1)] == [False, False, True]


def placement(
    runtime: str, network: str | None, standing: CallerStanding = CallerStanding.OURS
) -> Placement:
    return Placement(runtime=runtime, network=network, standing=standing, by="ada", at=NOW)


def test_the_last_word_on_a_caller_counts_and_the_narrower_one_first() -> None:
    everywhere = placement("worker", None)
    here = placement("worker", "office", CallerStanding.INTRUDER)
    incident = INCIDENT.placed(everywhere).placed(here)
    for network, standing in (("office", "intruder"), ("home", "ours")):
        assert placed_standing(incident.placements, "worker", [network]) == standing
    assert placed_standing(incident.placements, "other", ["office"]) is None
    again = incident.placed(placement("worker", "office"))
    assert len(again.placements) == 2
    assert placed_standing(again.placements, "worker", ["office"]) == "ours"


def test_a_person_says_ours_or_intruder_and_not_without_end() -> None:
    for standing in (CallerStanding.CLAIMED, CallerStanding.SUSPECT):
        with pytest.raises(RequestInvalid):
            INCIDENT.placed(placement("worker", None, standing))
    full = replace(
        INCIDENT,
        placements=tuple(placement(f"r{number}", None) for number in range(MOST_PLACEMENTS)),
    )
    with pytest.raises(RequestInvalid):
        full.placed(placement("one more", None))
    full.placed(placement("r0", None, CallerStanding.INTRUDER))


def test_a_waiver_holds_until_its_time() -> None:
    waived = key(1, waived_until=NOW + 1)
    assert [waived.is_settled(NOW + passed) for passed in (0, 1, 2)] == [True, False, False]
