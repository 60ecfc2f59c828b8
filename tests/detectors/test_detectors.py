"""What each detector says of a key's past, and that it says the same whenever it looks."""

from dataclasses import replace
from random import Random

import pytest

from keyturn.domain.detectors import BLIND_SPOTS, Case, cause_of, detect
from keyturn.domain.detectors.amount import poisson_tail
from keyturn.domain.detectors.profile import Profile
from keyturn.domain.detectors.shape import (
    environment_shape,
    path_family,
    path_shape,
    place_shape,
    product_of,
    runtime_shape,
)
from keyturn.domain.finding import FindingKind
from keyturn.domain.instant import DAY
from keyturn.domain.key import KeyState
from keyturn.domain.runtime import NamedNetwork
from keyturn.domain.slot import SlotName
from keyturn.domain.traffic import HOUR, Facet
from tests.detectors.lives import Life, Route, Who, call
from tests.domain.samples import NOW, SAMPLE_KEY

START = NOW // DAY * DAY
USUAL = Who("worker", True, "198.51.100.7", "acme/1.0", "DE", "prod")
ROUTES = (Route("GET /pins", 2, "read"), Route("GET /pins/{}", 1, "read"))
DAYS = 40
TODAY = START + DAYS * DAY + 12 * HOUR


@pytest.fixture
def life() -> Life:
    """A worker by day, each day, for forty days."""
    made = Life("steady", replace(SAMPLE_KEY, created_at=START), usual=(USUAL,), routes=ROUTES)
    random = Random(1)
    for hour in range(START, START + DAYS * DAY, HOUR):
        if 8 <= hour // HOUR % 24 < 18:
            call(made, random, hour, USUAL, ROUTES, random.randint(15, 25))
    return made


def use(life: Life, who: Who = USUAL, at: int = TODAY, count: int = 5, **options: float) -> None:
    routes = (Route("GET /pins", 1, "read"),)
    call(life, Random(2), at, who, routes, count, refused=options.get("refused", 0.0))


def case_of(life: Life, now: int = TODAY + HOUR, **members: object) -> Case:
    profile = Profile(since=START)
    profile.extend([row for row in life.rows() if row.hour < now], now // HOUR * HOUR)
    return Case(key=life.key, profile=profile, now=now, **members)  # type: ignore[arg-type]


def told(life: Life, now: int = TODAY + HOUR, **members: object) -> set[str]:
    return {reason.kind.value for reason in detect(case_of(life, now, **members))}


def test_nothing_is_said_of_a_steady_key(life: Life) -> None:
    use(life, count=20)
    assert told(life) == set()


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        (replace(USUAL, network="203.0.113.9"), {"usage.new_network"}),
        (replace(USUAL, network="198.51.9.9"), set()),
        (replace(USUAL, country="BR"), {"usage.new_country"}),
        (replace(USUAL, runtime="other"), {"usage.new_runtime"}),
        (replace(USUAL, runtime="worker-7f9c5d8b4-x2x9q"), set()),
        (replace(USUAL, environment="staging"), {"usage.several_environments"}),
        (replace(USUAL, environment="Production"), set()),
        (replace(USUAL, browser="origin"), {"usage.browser"}),
    ],
)
def test_another_caller_is_told_by_what_is_new_of_it(
    life: Life, who: Who, expected: set[str]
) -> None:
    use(life, who)
    assert told(life) == expected


def test_a_runtime_that_the_slot_names_is_not_new(life: Life) -> None:
    use(life, replace(USUAL, runtime="other"))
    assert told(life, registered=frozenset({"other"})) == set()


def test_a_network_that_got_its_name_is_not_new(life: Life) -> None:
    use(life, replace(USUAL, network="office"))
    named = (NamedNetwork(name="office", cidrs=("198.51.100.0/24",)),)
    assert told(life) == {"usage.new_network"}
    assert told(life, networks=named) == set()


def test_a_path_is_new_unless_it_came_with_a_release(life: Life) -> None:
    fresh = (Route("GET /export", 1, "export"),)
    call(life, Random(3), TODAY, USUAL, fresh, 3)
    assert told(life) == {"usage.new_path", "usage.new_scope"}
    call(life, Random(3), TODAY - 2 * HOUR, replace(USUAL, agent="acme/1.1"), ROUTES, 3)
    assert told(life) == set()


def call_path(life: Life, path: str, at: int = TODAY, refused: float = 0.0) -> None:
    call(life, Random(3), at, USUAL, (Route(path, 1, "read"),), 6, refused=refused)


@pytest.mark.parametrize(
    ("path", "is_new"),
    [
        ("GET /exports", True),
        ("DELETE /pins/{}", True),
        ("GET /pins/popular", False),
        ("GET /v2/pins/{}/comments", False),
        ("HEAD /pins", False),
    ],
)
def test_a_path_is_new_by_what_it_is_about_and_does(life: Life, path: str, is_new: bool) -> None:
    call_path(life, path)
    assert told(life) == ({"usage.new_path"} if is_new else set())


def test_a_path_that_is_refused_is_told_whatever_is_beside_it_or_came_with_it(life: Life) -> None:
    call(life, Random(3), TODAY - 2 * HOUR, replace(USUAL, agent="acme/1.1"), ROUTES, 3)
    call_path(life, "GET /pins/all", refused=1)
    (reason,) = detect(case_of(life))
    assert reason.kind is FindingKind.NEW_PATH
    assert reason.what.endswith("and was refused.")
    assert told(life, is_steered=True) == set()


def test_one_refusal_of_many_is_the_usual_of_a_key_that_is_refused_at_times(life: Life) -> None:
    for day in range(0, DAYS, 2):
        use(life, at=START + day * DAY + 9 * HOUR, count=8, refused=1)
    call_path(life, "GET /pins/all")
    life.at(TODAY).add(Facet.PATH, "GET /pins/all", 0, 1, TODAY, TODAY)
    assert told(life) == set()


def test_where_new_paths_come_and_stay_without_a_release_one_more_tells_nothing(
    life: Life,
) -> None:
    for day in range(15, DAYS):
        call_path(life, "GET /exports", START + day * DAY + 9 * HOUR)
    call_path(life, "GET /hooks")
    assert told(life, TODAY + HOUR) == set()


def test_what_was_tried_once_hides_nothing_that_is_tried_later(life: Life) -> None:
    call_path(life, "GET /exports", START + 20 * DAY + 9 * HOUR)
    call_path(life, "GET /hooks")
    assert told(life) == {"usage.new_path"}


def test_names_that_people_made_up_are_no_growth_and_are_not_told(life: Life) -> None:
    words = ("red", "old", "big", "new", "hot", "raw", "low", "far", "fit", "odd")
    for day in range(DAYS):
        for word in (words[day % 10], words[day // 4]):
            call_path(life, f"GET /tags/{word}-{words[day % 7]}", START + day * DAY + 9 * HOUR)
    call_path(life, "GET /tags/never-before")
    assert told(life) == set()
    call_path(life, "GET /admin/export")
    assert told(life) == {"usage.new_path"}


def test_of_a_key_that_is_used_seldom_a_path_needs_more_calls_than_days(life: Life) -> None:
    seldom = replace(life, hours={})
    for day in range(0, DAYS, 2):
        call(seldom, Random(day), START + day * DAY + 12 * HOUR, USUAL, ROUTES, 4)
    call_path(seldom, "GET /exports")
    assert told(seldom) == set()


def test_volume_is_told_until_a_day_after_it(life: Life) -> None:
    use(life, count=200)
    assert told(life) == {"usage.volume"}
    assert told(life, TODAY + 24 * HOUR) == {"usage.volume"}
    assert told(life, TODAY + 26 * HOUR) == set()


def test_refusals_are_told_unless_the_key_was_changed(life: Life) -> None:
    use(life, count=25, refused=1)
    assert told(life) == {"usage.denied_burst"}
    assert told(life, is_steered=True) == set()


def test_a_time_of_day_is_told_at_which_it_never_worked(life: Life) -> None:
    use(life, at=START + DAYS * DAY + 3 * HOUR)
    use(life, at=START + DAYS * DAY + 6 * HOUR)  # two hours early is no other time
    (reason,) = detect(case_of(life))
    assert reason.kind is FindingKind.HOURS
    assert (reason.facts["calls"], reason.since) == (5, START + DAYS * DAY + 3 * HOUR)


def test_a_revoked_key_is_told_of_by_its_use_alone(life: Life) -> None:
    use(life, replace(USUAL, network="203.0.113.9"))
    life.key = replace(life.key, state=KeyState.REVOKED, revoked_at=TODAY - HOUR)
    use(life, count=2, refused=1)
    assert told(life) == {"usage.after_revocation"}
    assert told(life, TODAY + 15 * DAY) == set()


def test_a_drill_that_tries_its_own_revoked_key_is_no_use_after_revocation(life: Life) -> None:
    drill = SlotName(service="drill-97fc4a50", environment="drill")
    life.key = replace(life.key, slot=drill, state=KeyState.REVOKED, revoked_at=TODAY - HOUR)
    use(life, count=2, refused=1)
    assert told(life) == set()


def test_each_reason_has_its_evidence(life: Life) -> None:
    use(life, replace(USUAL, network="203.0.113.9", browser="sec-fetch"))
    case = case_of(life)
    for reason in detect(case):
        evidence = cause_of(case, reason).evidence
        assert evidence["blind_spot"] == BLIND_SPOTS[reason.kind]
        assert {"what", "since", "baseline", "certainty", "next_step"} <= set(evidence)


def test_it_makes_no_difference_when_and_how_often_is_looked(life: Life) -> None:
    use(life, replace(USUAL, network="203.0.113.9"), count=100)
    rows = life.rows()
    whole = Profile(since=START)
    whole.extend(rows, TODAY + HOUR)
    for split in (TODAY, TODAY - 3 * DAY, START + DAY):
        part = Profile(since=START)
        part.extend([row for row in rows if row.hour < split], split)
        laid = part.with_recent([row for row in rows if row.hour >= split])
        one, two = (
            detect(Case(key=life.key, profile=each, now=TODAY + HOUR)) for each in (whole, laid)
        )
        assert one == two
        assert one


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("GET /pins/123", "GET /pins/{}"),
        ("GET /pins/01a20534-8b2c-7906-a005-a6de9595aab9/x", "GET /pins/{}/x"),
        ("GET /pins/0352DiMj78iQEzdmBE5PUv", "GET /pins/{}"),
        ("GET /v1/pins", "GET /v1/pins"),
        ("GET /deadbeef/facade", "GET /deadbeef/facade"),
        ("GET /days/2026-11-28/pins", "GET /days/{}/pins"),
        ("GET /at/2026-11-28T10:00:00Z", "GET /at/{}"),
        ("GET /orders/INV-20417", "GET /orders/{}"),
        ("GET /users/ada@example.com", "GET /users/{}"),
        ("GET /search/red%20shoes", "GET /search/{}"),
        ("GET /oauth2/v2-events", "GET /oauth2/v2-events"),
        ("GET", "GET"),
    ],
)
def test_ids_make_no_other_path(path: str, shape: str) -> None:
    assert path_shape(path)[0] == shape


def test_what_is_alike_has_one_shape() -> None:
    assert path_family("GET /api/v1/pins/{}") == path_family("HEAD /v2.1/{}/pins") == "read pins"
    assert path_family("PATCH /pins/{}/x") == path_family("POST /pins") == "write pins"
    assert path_family("GET /") == path_family("GET") == "read "
    assert runtime_shape("api-7f9c5d8b4-x2x9q") == runtime_shape("api-0") == "api"
    assert runtime_shape("billing-worker") == "billing-worker"
    assert product_of("acme/1.2 (linux)") == ("acme", "1.2")
    assert place_shape("10.1.2.3") == "10.0.0.0/8"
    assert place_shape("office") == "office"
    assert environment_shape("Production ") == "prod"


def test_the_tail_of_poisson_is_what_it_is() -> None:
    assert poisson_tail(0, 3.0) == 1.0
    assert poisson_tail(10, 3.0) == pytest.approx(0.0011025, rel=1e-3)
    assert poisson_tail(5_000, 1.0) == 0.0
    assert poisson_tail(20_000, 10_000.0) < 1e-12
