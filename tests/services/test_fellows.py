"""What one node knows of the uses at the others, and of those that vanished."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from keyturn.domain.instant import SECOND
from keyturn.services.fellows import Fellows
from keyturn.services.meter import Meter
from keyturn.services.provision import WorkspaceDraft, provision_workspace
from keyturn.services.witness import Witness
from keyturn.storage.contract import NodeRow, NodesSeen
from tests.houses import House

NOW = 1_790_000_000 * SECOND


def row(name: str, **members: int | None) -> NodeRow:
    made = NodeRow(
        id=name,
        name=name,
        version="1",
        started_at=NOW,
        applied=1,
        promised=1,
        lease_until=NOW + 5 * SECOND,
        settled_until=NOW,
        left_at=None,
        seen_at=NOW,
    )
    return replace(made, **members)  # type: ignore[arg-type]


@dataclass
class Table:
    rows: list[NodeRow] = field(default_factory=list)
    clock: int = NOW

    def nodes(self) -> NodesSeen:
        return NodesSeen(self.clock, tuple(self.rows))

    def fellows(self) -> Fellows:
        cluster: Any = self
        return Fellows(cluster, "own")


def test_the_slowest_of_the_others_says_up_to_when_all_is_kept() -> None:
    table = Table([row("own", settled_until=1), row("a", settled_until=7), row("b")])
    assert table.fellows().look().settled_until == 7
    assert Table([row("own")]).fellows().look().settled_until is None


def test_one_whose_lease_ended_without_a_goodbye_has_vanished_once() -> None:
    table = Table([row("a", settled_until=7), row("b")])
    fellows = table.fellows()
    assert fellows.look().vanished == ()
    table.clock += 6 * SECOND
    table.rows[1] = row("b", lease_until=table.clock + SECOND)
    seen = fellows.look()
    assert (seen.vanished, seen.settled_until) == (("a",), NOW)
    assert fellows.look().vanished == ()
    # It comes back and goes again.
    table.rows[0] = row("a", lease_until=table.clock + SECOND, settled_until=9)
    assert fellows.look().settled_until == 9
    table.rows = [row("b", lease_until=table.clock + SECOND)]
    assert fellows.look().vanished == ("a",)


def test_one_that_said_goodbye_has_kept_everything() -> None:
    table = Table([row("a", settled_until=7), row("b")])
    fellows = table.fellows()
    fellows.look()
    table.rows[0] = row("a", settled_until=7, left_at=NOW, lease_until=NOW)
    seen = fellows.look()
    assert (seen.vanished, seen.settled_until) == ((), NOW)


def test_one_that_came_and_went_between_two_looks_has_vanished() -> None:
    table = Table([row("gone-before", lease_until=NOW - 1)])
    fellows = table.fellows()
    assert fellows.look().vanished == ()
    table.rows.append(row("short", lease_until=NOW - 1))
    assert fellows.look().vanished == ("short",)


def test_a_witness_vouches_for_no_more_than_the_slowest_node_has_kept(
    build_house: Callable[[str], House],
) -> None:
    house = build_house("sqlite")
    began = house.clock.now()
    table = Table(clock=began)
    witness = Witness(house.context, Meter(house.context), table.fellows())
    house.clock.advance(10 * SECOND)
    table.rows = [row("a", settled_until=began + SECOND, lease_until=began + 99 * SECOND)]
    assert witness.observe().until == began + SECOND
    table.rows[0] = replace(table.rows[0], settled_until=began + 8 * SECOND)
    assert witness.observe().until == began + 8 * SECOND
    table.rows[0] = replace(table.rows[0], settled_until=began + 99 * SECOND)
    assert witness.observe().until == house.clock.now()


def test_quiet_is_watched_anew_once_a_node_has_vanished(
    build_house: Callable[[str], House],
) -> None:
    house = build_house("sqlite")
    began = house.clock.now()
    table = Table([row("a", lease_until=began + 5 * SECOND)], clock=began)
    witness = Witness(house.context, Meter(house.context), table.fellows())
    assert witness.observe().watched_since == began
    house.clock.advance(6 * SECOND)
    table.clock = house.clock.now()
    assert witness.observe().watched_since == house.clock.now()
    house.clock.advance(6 * SECOND)
    assert witness.observe().watched_since == house.clock.now() - 6 * SECOND


def test_a_node_that_may_be_in_grace_breaks_the_watch_for_as_long(
    build_house: Callable[[str], House],
) -> None:
    house = build_house("sqlite")
    provision_workspace(
        house.context, house.act(), WorkspaceDraft(name="lenient", grace_seconds=30)
    )
    began = house.clock.now()
    table = Table([row("a", lease_until=began - SECOND)], clock=began)
    witness = Witness(house.context, Meter(house.context), table.fellows())
    for _ in range(3):
        house.clock.advance(9 * SECOND)
        table.clock = house.clock.now()
        assert witness.observe().watched_since == house.clock.now()
    for _ in range(4):
        house.clock.advance(9 * SECOND)
        table.clock = house.clock.now()
        witness.observe()
    assert witness.observe().watched_since < house.clock.now()
