"""What the traffic of exposed keys says, weighed without a database."""

from dataclasses import replace
from uuid import UUID

import pytest

from keyturn.domain.blast_radius import (
    KeyTraffic,
    Oddity,
    Standings,
    first_stranger,
    weigh_traffic,
)
from keyturn.domain.incident import CallerStanding, Placement
from keyturn.domain.runtime import NamedNetwork
from keyturn.domain.traffic import REST, Caller, Facet, Rhythm, Tally

KEY = UUID(int=1)
WORKER = Caller("worker", True, "10.1.0.7")
OFFICE = (NamedNetwork(name="office", cidrs=("198.51.100.0/24",)),)


def tally(
    caller: Caller | str, requests: int = 1, at: int = 10, facet: Facet = Facet.CALLER
) -> Tally:
    return Tally(
        key_id=KEY,
        facet=facet,
        value=caller if isinstance(caller, str) else caller.spelled,
        allowed=requests,
        denied=0,
        first_at=at,
        last_at=at,
    )


def placed(runtime: str, network: str | None, standing: CallerStanding) -> Placement:
    return Placement(runtime=runtime, network=network, standing=standing, by="ada", at=1)


OURS, INTRUDER = CallerStanding.OURS, CallerStanding.INTRUDER
CLAIMED, SUSPECT = CallerStanding.CLAIMED, CallerStanding.SUSPECT


@pytest.mark.parametrize(
    ("caller", "words", "standing"),
    [
        (WORKER, [], OURS),
        (Caller("worker", False, None), [], SUSPECT),
        (Caller("nightly", True, None), [], CLAIMED),
        (Caller("ua:curl", False, "203.0.113.9"), [], SUSPECT),
        # What declares itself by a name that is inferred is another.
        (Caller("ua:batch", True, None), [], CLAIMED),
        (Caller("ua:batch", False, None), [], OURS),
        (WORKER, [placed("worker", None, INTRUDER)], INTRUDER),
        (WORKER, [placed("worker", "10.1.0.7", OURS), placed("worker", None, INTRUDER)], OURS),
        (WORKER, [placed("worker", "10.1.0.8", INTRUDER)], OURS),
        # By the block that an incident shows, and by the name of a network.
        (WORKER, [placed("worker", "10.0.0.0/8", INTRUDER)], INTRUDER),
        (Caller("x", True, "198.51.100.7"), [placed("x", "office", OURS)], OURS),
        (Caller("x", True, "office"), [placed("x", "office", OURS)], OURS),
    ],
)
def test_a_persons_word_counts_first_and_the_narrower_before_the_wider(
    caller: Caller, words: list[Placement], standing: CallerStanding
) -> None:
    assert Standings(words, OFFICE).of(caller, frozenset({"worker", "ua:batch"})) is standing


def key(
    before: list[Tally], window: list[Tally], after: list[Tally] | None = None, **members: object
) -> KeyTraffic:
    return KeyTraffic(
        key_id=KEY,
        runtimes=frozenset({"worker"}),
        before=before,
        window=window,
        after=after or [],
        **members,  # type: ignore[arg-type]
    )


PLAIN = Standings((), ())


def test_one_more_pod_of_ours_is_nothing_new_and_another_public_address_is() -> None:
    public = Caller("worker", True, "203.0.113.5")
    radius = weigh_traffic(
        [
            key(
                [tally(WORKER), tally(public)],
                [
                    tally(Caller("worker", True, "10.1.0.99")),
                    tally(Caller("worker", True, "203.0.113.6")),
                ],
            )
        ],
        PLAIN,
    )
    assert [(one.what, one.value) for one in radius.unlike] == [(Oddity.NETWORK, "203.0.113.6")]


def test_without_a_life_before_nothing_is_unlike() -> None:
    radius = weigh_traffic([key([], [tally(WORKER), tally("GET /", facet=Facet.PATH)])], PLAIN)
    assert (radius.unlike, radius.compared) == ((), 0)
    assert [one.caller for one in radius.indistinguishable] == [WORKER]


def test_with_nobody_registered_and_nothing_before_everybody_could_be_anybody() -> None:
    curl = Caller("ua:curl", False, "203.0.113.5")
    alone = weigh_traffic([key([], [tally(curl, 7)])], PLAIN)
    assert [one.count.requests for one in alone.indistinguishable] == [7]
    beside = weigh_traffic([key([], [tally(curl, 7), tally(WORKER)])], PLAIN)
    assert [one.caller for one in beside.indistinguishable] == [WORKER]


def test_an_intruder_is_told_apart() -> None:
    words = Standings([placed("worker", None, INTRUDER)], ())
    radius = weigh_traffic([key([tally(WORKER)], [tally(WORKER, 5)])], words)
    assert radius.indistinguishable == ()
    assert radius.runtimes[0].standing is INTRUDER


def test_what_was_refused_after_is_in_the_sums_and_by_itself() -> None:
    refused = replace(tally(WORKER, at=90), allowed=0, denied=2)
    radius = weigh_traffic([key([], [tally(WORKER, 3)], [refused])], PLAIN)
    assert (radius.totals.requests, radius.totals.after_containment) == (5, 2)
    [entry] = radius.runtimes
    assert (entry.count.requests, entry.count.after_containment, entry.last_at) == (5, 2, 90)
    assert [(one.allowed, one.denied) for one in radius.attempts_after] == [(0, 2)]
    assert [one.count.requests for one in radius.indistinguishable] == [3]


def test_what_was_let_in_before_the_answer_is_no_attempt() -> None:
    radius = weigh_traffic([key([], [], [tally(WORKER, 2, at=90)])], PLAIN)
    assert (radius.totals.allowed, radius.totals.after_containment) == (2, 0)
    assert radius.attempts_after == ()


def test_the_rest_is_nobodys_and_no_oddity() -> None:
    radius = weigh_traffic([key([tally(WORKER)], [tally(REST, 9), tally(WORKER)])], PLAIN)
    assert [(one.caller.runtime, one.standing) for one in radius.not_ours] == [("other", SUSPECT)]
    assert radius.unlike == ()


def rhythm(hour: int, requests: int, hours: int = 30, busiest: int | None = None) -> Rhythm:
    return Rhythm(
        key_id=KEY,
        hour_of_day=hour,
        requests=requests,
        busiest=requests // hours if busiest is None else busiest,
        hours=hours,
    )


def test_hours_and_volume_are_told_against_enough_of_the_past() -> None:
    before = [rhythm(hour, 600) for hour in range(8, 18)]
    since = [rhythm(3, 40, 1), rhythm(9, 400, 2, busiest=300)]
    window = [tally(WORKER, 440)]
    radius = weigh_traffic(
        [key([tally(WORKER)], window, rhythm_before=before, rhythm_since=since)], PLAIN
    )
    assert [(one.what, one.value, one.requests) for one in radius.unlike] == [
        (Oddity.HOURS, "03:00 UTC", 40),
        (Oddity.VOLUME, "09:00 UTC", 300),
    ]
    assert "busiest hour before had 20" in radius.unlike[1].reason
    little = [rhythm(hour, 7, 7) for hour in range(8, 18)]
    radius = weigh_traffic(
        [key([tally(WORKER)], window, rhythm_before=little, rhythm_since=since)], PLAIN
    )
    assert radius.unlike == ()


def test_the_first_stranger_is_the_first_who_is_not_ours() -> None:
    tallies = [
        tally(WORKER, at=1),
        tally("GET /", at=0, facet=Facet.PATH),
        tally(Caller("nightly", True, None), at=7),
        tally(Caller("ua:curl", False, None), at=5),
    ]
    assert first_stranger(tallies, lambda one: PLAIN.of(one, frozenset({"worker"}))) == 5
    assert first_stranger(tallies[:2], lambda one: PLAIN.of(one, frozenset({"worker"}))) is None
