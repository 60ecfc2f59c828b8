"""`keyturn drill rotation`: it shows what it claims on a running Keyturn, notices where that does
not hold, and leaves nothing live, however it ends."""

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
import pytest

from keyturn.cli import ending
from keyturn.cli.drill_ground import DrillFailed, Ground
from keyturn.cli.drill_rotation import NEEDED, Rehearsal
from keyturn.client import Keyturn, Verdict
from keyturn.client.call import Call
from tests.cli.calling import House, house_in
from tests.cli.programs import PATIENCE_SECONDS, Finished, Place, Running

T = TypeVar("T")

NAME = re.compile(r"drill-[0-9a-f]{8}")
STEPS = 12
RETIRED = "batch moves, and the old key retires by itself"
MOVED = "web and worker move; batch alone is waited for"
LAST = "nothing live is left"


@pytest.fixture
def both(either: Place) -> Iterator[House]:
    with house_in(either) as house:
        yield house


def slots(house: House) -> dict[str, Any]:
    """The slots of all drills so far, by their names."""
    return {one["name"]: one for one in house.ask("GET", "/v1/slots?environment=drill&limit=1000")}


def slot_made_since(house: House, before: dict[str, Any]) -> Any:
    (name,) = slots(house).keys() - before.keys()
    return slots(house)[name]


def statuses(house: House, slot: Any) -> list[str]:
    asked = f"service={slot['service']}&environment={slot['environment']}&status=all"
    return [one["status"] for one in house.ask("GET", f"/v1/api-keys?{asked}")]


def rotations(house: House, slot: Any) -> list[Any]:
    found: list[Any] = house.ask("GET", f"/v1/rotations?slot={slot['name']}")
    return found


def await_step(drill: Running, claim: str) -> None:
    eventually(drill, lambda: claim in drill.output)


def eventually(drill: Running, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert drill.process.exitcode is None, drill.output + drill.errors
        assert time.monotonic() < deadline, drill.output
        time.sleep(0.01)


def results(told: Finished) -> list[str]:
    found = re.findall(r"^(ok|failed) +[\d.]+ s  \S.*$", told.output, re.MULTILINE)
    return [str(one) for one in found]


# --- it goes well ---------------------------------------------------------------------------------


def test_it_passes_is_recorded_and_leaves_nothing_live(both: House) -> None:
    told = both.run("drill", "rotation").done()
    assert results(told) == ["ok"] * STEPS, told.output
    passed = re.search(
        r"^Passed in [\d.]+ s: (\d+) calls that had to be allowed", told.output, re.MULTILINE
    )
    assert passed is not None, told.output
    slot = slot_made_since(both, {})
    assert statuses(both, slot) == ["revoked"] * 3
    rolled_back, completed = rotations(both, slot)
    assert (rolled_back["state"], completed["state"]) == ("rolled_back", "completed")
    assert (completed["forced"], completed["ended_by"]) == (False, "keyturn rotations")
    purpose = r"Rotation drill of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d: passed in [\d.]+ s"
    assert re.fullmatch(purpose, slot["purpose"])
    assert slot["owner"]
    ids = {one["request_id"] for one in both.ask("GET", "/v1/requests?limit=1000")}
    numbers = sorted(int(one.removeprefix(f"{slot['service']}-")) for one in ids)
    assert len(numbers) > int(passed[1]), "the denied ones are recorded too"
    assert f"{slot['service']}-1 to {slot['service']}-" in told.output
    done = both.ask("GET", "/v1/activity-logs?limit=1000")["items"]
    mine = [one for one in done if one["resource_type"] in ("api_key", "rotation")]
    assert {one["resource_type"] for one in mine} == {"api_key", "rotation"}
    by_call = [one for one in mine if one["actor_type"] != "worker"]
    named = {one["request_id"].rpartition("-")[0] for one in by_call}
    assert named == {slot["service"]}
    assert both.ask("GET", "/v1/findings") == []


def test_for_programs_it_tells_each_step_in_the_workspace_that_is_named(house: House) -> None:
    made = house.ask("POST", "/v1/workspaces", {"name": "other"})
    before = house_slots(house)
    house.run("drill", "rotation").refused("--workspace", code=ending.WRONG)
    assert house_slots(house) == before
    told = json.loads(
        house.run("drill", "rotation", "--json", "--workspace", made["id"]).done().output
    )
    assert (told["passed"], told["interrupted"]) == (True, False)
    assert [step["ok"] for step in told["steps"]] == [True] * STEPS
    assert told["steps"][-1]["claim"] == LAST
    assert told["first_request_id"] == f"{told['id']}-1"
    assert told["healthy_calls"] > 0
    assert told["slot"] in {one["name"] for one in slots_of(house, made["id"])}


def slots_of(house: House, workspace: str) -> Any:
    status, found = house.server.call(
        "GET", "/v1/slots", house.place.token, headers={"Keyturn-Workspace": workspace}
    )
    assert status == 200
    return found


def test_a_token_for_drills_alone_with_networks_and_a_short_life_is_enough(house: House) -> None:
    token = holder(house, *NEEDED, narrowed="@drill-*", more=("--cidr", "127.0.0.0/8"))
    told = house.run("drill", "rotation", "--quiet", "--api-key-file", token).done()
    assert NAME.match(told.output)


@pytest.mark.parametrize("missing", NEEDED)
def test_a_token_that_lacks_a_permission_is_told_which_and_nothing_is_made(
    missing: str, house: House
) -> None:
    before = house_slots(house)
    token = holder(house, *(one for one in NEEDED if one != missing))
    told = house.run("drill", "rotation", "--api-key-file", token)
    told.refused(f"that this token lacks: {missing}.", code=ending.REFUSED)
    assert told.output == ""
    assert house_slots(house) - before == {f"{token.partition('.')[0]}-default"}


def holder(house: House, *permissions: str, narrowed: str = "", more: tuple[str, ...] = ()) -> str:
    """The file with a token of the first workspace that has these permissions."""
    name = f"holder{time.monotonic_ns()}"
    granted = [word for one in permissions for word in ("--permission", f"{one}{narrowed}")]
    house.run(
        *("keys", "create", name, "--output", f"{name}.token", "--expires", "20m"),
        *("--workspace", first_workspace(house), *granted, *more),
    ).done()
    return f"{name}.token"


def first_workspace(house: House) -> str:
    found = house.ask("GET", "/v1/workspaces")
    return next(str(one["id"]) for one in found if one["name"] == "default")


def house_slots(house: House) -> set[str]:
    return {one["name"] for one in slots_of(house, first_workspace(house))}


# --- Keyturn is at fault --------------------------------------------------------------------------


class Faulty:
    """A client of a Keyturn that lets dead and suspended keys in, from some step on."""

    def __init__(self, client: Keyturn) -> None:
        self._client = client
        self.lets_all_in = False

    def send(self, call: Call[T]) -> T:
        result = self._client.send(call)
        if isinstance(result, Verdict) and self.lets_all_in:
            return msgspec.structs.replace(result, valid=True)
        return result


@pytest.mark.parametrize(
    ("from_step", "failing"),
    [
        (0, "a brown-out is lifted when batch meets it"),
        (5, "the old key is dead, the new one works"),
        (9, "the old key works, the new one is dead"),
    ],
)
def test_a_keyturn_that_lets_dead_keys_in_does_not_pass(
    from_step: int, failing: str, house: House
) -> None:
    with Keyturn(
        house.server.url, api_key=house.place.token, workspace=first_workspace(house)
    ) as client:
        faulty = Faulty(client)
        ground = Ground(faulty, f"drill-{time.monotonic_ns():x}")
        claims = []

        def rehearse() -> None:
            for number, act in enumerate(Rehearsal(ground, "A planted fault").acts()):
                faulty.lets_all_in = number >= from_step
                claims.append(act.claim)
                act.show()

        try:
            with pytest.raises(DrillFailed, match="was let in"):
                rehearse()
        finally:
            ground.clear()
        assert claims[-1] == failing
        assert ground.living_keys() == []


# --- it goes wrong --------------------------------------------------------------------------------


@pytest.fixture
def own(made: Place) -> Iterator[House]:
    with house_in(made) as house:
        yield house


def test_a_healthy_call_that_is_denied_fails_it_and_nothing_live_is_left(own: House) -> None:
    drill = own.place.start("drill", "rotation")
    await_step(drill, MOVED)
    slot = slot_made_since(own, {})
    (rotation,) = rotations(own, slot)
    # Suspended, not revoked: that would end the rotation, and whether the drill sees that or its
    # caller's denial first would be chance.
    path = f"/v1/api-keys/{rotation['new_key_id']}/suspend"
    assert own.server.call("POST", path, own.place.token)[0] == 200
    told = drill.wait()
    told.refused("The drill failed where ", "was denied (suspended)", code=ending.FAULT)
    assert results(told).count("failed") == 1
    assert results(told)[-1] == "ok", "what was made is revoked all the same"
    assert set(statuses(own, slot)) == {"revoked"}
    assert re.search(r": failed after [\d.]+ s$", slot_made_since(own, {})["purpose"])


def test_a_rotation_that_does_not_end_by_itself_fails_it(own: House) -> None:
    drill = own.place.start("drill", "rotation", "--json")
    eventually(drill, lambda: any(rotations(own, one) for one in slots(own).values()))
    slot = slot_made_since(own, {})
    (rotation,) = rotations(own, slot)
    path = f"/v1/rotations/{rotation['id']}/complete"
    forced = {"force": True, "reason": "a planted fault"}
    assert own.server.call("POST", path, own.place.token, forced)[0] == 200
    told = drill.wait()
    told.refused("The drill failed where ", code=ending.FAULT)
    assert json.loads(told.output)["passed"] is False
    assert set(statuses(own, slot)) == {"revoked"}


def test_a_server_that_goes_away_fails_it_and_says_what_may_live_on(own: House) -> None:
    drill = own.place.start("drill", "rotation")
    await_step(drill, MOVED)
    own.server.kill()
    told = drill.wait()
    told.refused("There is no answer from", code=ending.FAULT)
    assert results(told)[-1] == "failed"
    assert "they expire within an hour" in told.output
    assert "Traceback" not in told.all


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_asked_to_end_it_leaves_nothing_live_and_says_so_on_its_slot(
    number: signal.Signals, own: House
) -> None:
    drill = own.place.start("drill", "rotation")
    await_step(drill, MOVED)
    slot = slot_made_since(own, {})
    assert "active" in statuses(own, slot)
    drill.signal(number)
    told = drill.wait()
    assert told.code == ending.INTERRUPTED, told.all
    assert results(told)[-1] == "ok"
    assert LAST in told.output
    assert RETIRED not in told.output
    assert set(statuses(own, slot)) == {"revoked"}
    assert all(one["state"] == "rolled_back" for one in rotations(own, slot))
    assert re.search(r": interrupted after [\d.]+ s$", slot_made_since(own, {})["purpose"])
