"""`keyturn drill revocation`: it measures what it claims on a running Keyturn, notices a node that
lets a revoked key in, and leaves nothing live, however it ends."""

import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from typing import TypeVar

import msgspec
import pytest

from keyturn.cli import ending
from keyturn.cli.drill_ground import DrillFailed, Ground
from keyturn.cli.drill_revocation import NEEDED, Node, Revocations
from keyturn.client import Keyturn, Verdict
from keyturn.client.call import Call
from keyturn.client.verify import verify
from tests.cli.calling import House, house_in
from tests.cli.programs import Place
from tests.cli.test_drill import (
    LAST,
    await_step,
    first_workspace,
    holder,
    house_slots,
    results,
    slot_made_since,
    slots,
    statuses,
)

T = TypeVar("T")

STEPS = 5
ADMITTED = "a new key is let in at every node"


@pytest.fixture
def both(either: Place) -> Iterator[House]:
    with house_in(either) as house:
        yield house


def test_it_passes_measures_and_leaves_nothing_live(both: House) -> None:
    told = both.run("drill", "revocation", "--revocations", "3").done()
    assert results(told) == ["ok"] * STEPS, told.output
    spread = r"( +[\d.]+ ms){3}$"
    assert re.search(rf"^revocation to its answer{spread}", told.output, re.MULTILINE)
    assert re.search(rf"^revocation to the last call let in{spread}", told.output, re.MULTILINE)
    ended = r"^3 revocations at 1 node, \d+ calls beside them: 0 let in after an answer\.$"
    assert re.search(ended, told.output, re.MULTILINE)
    slot = slot_made_since(both, {})
    assert statuses(both, slot) == ["revoked"] * 3
    purpose = r"Revocation drill of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d: passed in [\d.]+ s"
    assert re.fullmatch(purpose, slot["purpose"])


def test_for_programs_it_tells_each_figure_of_the_nodes_that_are_named(house: House) -> None:
    told = house.run(
        *("drill", "revocation", "--revocations", "2", "--json"),
        *("--node", house.server.url, "--node", house.server.url),
        *("--workspace", first_workspace(house)),
    ).done()
    drill = json.loads(told.output)
    figures = drill["figures"]
    assert (drill["passed"], figures["nodes"], figures["revocations"]) == (True, 2, 2)
    assert figures["calls"] > 0
    assert figures["let_in_after_the_answer"] == 0
    assert len(figures["answer_ms"]) == len(figures["last_let_in_ms"]) == 2
    assert all(last < answer for last, answer in zip(*_timed(figures), strict=True))


def _timed(figures: dict[str, list[float]]) -> tuple[list[float], list[float]]:
    return figures["last_let_in_ms"], figures["answer_ms"]


@pytest.mark.parametrize("missing", NEEDED)
def test_a_token_that_lacks_a_permission_is_told_which_and_nothing_is_made(
    missing: str, house: House
) -> None:
    before = house_slots(house)
    token = holder(house, *(one for one in NEEDED if one != missing))
    told = house.run("drill", "revocation", "--api-key-file", token)
    told.refused(f"that this token lacks: {missing}.", code=ending.REFUSED)
    assert house_slots(house) - before == {f"{token.partition('.')[0]}-default"}


def test_a_node_that_does_not_answer_fails_it(house: House) -> None:
    told = house.run("drill", "revocation", "--node", "http://127.0.0.1:1")
    told.refused("There is no answer from http://127.0.0.1:1", code=ending.FAULT)
    assert results(told)[-1] == "ok"


def test_an_address_that_is_none_is_told_by_its_option_and_nothing_is_made(house: House) -> None:
    before = house_slots(house)
    told = house.run("drill", "revocation", "--node", "nonsense")
    told.refused("Invalid value for --node: ", code=ending.WRONG)
    assert house_slots(house) == before


class Silent:
    """A node that gives back no call any more once a key has been revoked."""

    def __init__(self, client: Keyturn) -> None:
        self._client = client
        self.is_over = threading.Event()

    def send(self, call: Call[T]) -> T:
        result = self._client.send(call)
        if isinstance(result, Verdict) and not result.valid:
            self.is_over.wait(60)
        return result


def test_a_node_that_is_not_heard_of_after_the_answer_shows_nothing(house: House) -> None:
    with Keyturn(
        house.server.url, api_key=house.place.token, workspace=first_workspace(house)
    ) as client:
        silent = Silent(client)
        ground = Ground(client, f"drill-{time.monotonic_ns():x}")
        nodes = [Node(url="silent", client=silent)]
        rehearsal = Revocations(
            ground, nodes, purpose="A planted fault", revocations=1, patience_seconds=2.0
        )
        meet, admit, _, revoke = rehearsal.acts()
        meet.show()
        admit.show()
        try:
            with pytest.raises(DrillFailed, match="silent gives back no call after the answer"):
                revoke.show()
        finally:
            silent.is_over.set()
            ground.clear()


class Stale:
    """A node that goes on letting a key in which it once let in."""

    def __init__(self, client: Keyturn) -> None:
        self._client = client
        self._has_let_in = False

    def send(self, call: Call[T]) -> T:
        result = self._client.send(call)
        if not isinstance(result, Verdict):
            return result
        self._has_let_in |= result.valid
        return msgspec.structs.replace(result, valid=self._has_let_in)


@pytest.mark.parametrize(
    ("is_stale_from", "complaint"),
    [(2, "lets it in"), (3, r"\d+ calls were let in with a key whose revocation")],
)
def test_a_node_that_lets_a_revoked_key_in_does_not_pass(
    is_stale_from: int, complaint: str, house: House
) -> None:
    with Keyturn(
        house.server.url, api_key=house.place.token, workspace=first_workspace(house)
    ) as client:
        ground = Ground(client, f"drill-{time.monotonic_ns():x}")
        good, stale = (Node(url="one", client=client), Node(url="two", client=Stale(client)))
        nodes = [good, good]
        rehearsal = Revocations(ground, nodes, purpose="A planted fault", revocations=1)

        def rehearse() -> None:
            for number, act in enumerate(rehearsal.acts()):
                nodes[1] = stale if number >= is_stale_from else good
                if number == is_stale_from:  # what it let in before, it lets in for ever
                    stale.client.send(verify(rehearsal.first.token))
                act.show()

        try:
            with pytest.raises(DrillFailed, match=complaint):
                rehearse()
        finally:
            ground.clear()
        assert ground.living_keys() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_end_it_leaves_nothing_live(number: signal.Signals, house: House) -> None:
    before = slots(house)
    drill = house.place.start(
        *("drill", "revocation", "--revocations", "200"),
        *("--workspace", first_workspace(house)),
    )
    await_step(drill, ADMITTED)
    drill.signal(number)
    told = drill.wait()
    assert told.code == ending.INTERRUPTED, told.all
    assert LAST in told.output
    made = slots(house).keys() - before.keys()
    assert all(set(statuses(house, slots(house)[one])) == {"revoked"} for one in made)
