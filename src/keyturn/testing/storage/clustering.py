"""Several nodes on one database: leases, looks at the log, and hints."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, Event

import pytest

from keyturn.storage.contract import (
    MOST_STEPS,
    START,
    Cluster,
    LogLook,
    LogPoint,
    LogStep,
    NodeReport,
    NodeRow,
    Store,
)
from keyturn.storage.log import Change
from keyturn.testing.storage import making
from keyturn.testing.storage.changing import StorageBase

SECONDS = 1_000_000
WRITERS, EACH = 8, 12
LONG = 5.0
SHORT = 0.05


def report_of(
    number: int = 1, *, applied: int = 0, settled_until: int = 0, lease_seconds: float = LONG
) -> NodeReport:
    return NodeReport(
        id=str(making.id_of(number)),
        name=f"host-{number}:8484",
        version="1.0",
        applied=applied,
        settled_until=settled_until,
        lease_seconds=lease_seconds,
    )


def changed(store: Store, count: int) -> None:
    """Raises the log by so many changes, all in one transaction."""
    with store.change() as transaction:
        transaction.log.append_all(
            [
                (making.entry(number), Change(kind="key", ref=str(number), version=1))
                for number in range(count)
            ]
        )


def last_of(cluster: Cluster) -> LogPoint:
    anchor = cluster.look(None).anchor
    assert anchor is not None
    return anchor


def after(step: LogStep) -> LogPoint:
    return LogPoint(step.position, step.seal)


class ClusterContract(StorageBase):
    """What several nodes go by."""

    @pytest.fixture
    def cluster(self, store: Store) -> Cluster:
        assert store.cluster is not None
        return store.cluster

    @pytest.fixture
    def other(self, beside: Store) -> Cluster:
        assert beside.cluster is not None
        return beside.cluster

    # --- leases ----------------------------------------------------------------------------------

    def test_a_grant_is_there_for_all_before_the_look_is_asked(
        self, store: Store, cluster: Cluster, other: Cluster
    ) -> None:
        changed(store, 3)
        assert other.nodes().rows == ()
        grant = cluster.report(report_of(settled_until=77))
        assert grant.is_granted
        seen = other.nodes()
        [row] = seen.rows
        assert row == NodeRow(
            id=str(making.id_of(1)),
            name="host-1:8484",
            version="1.0",
            started_at=grant.clock,
            applied=0,
            promised=3,
            lease_until=row.lease_until,
            settled_until=77,
            left_at=None,
            seen_at=grant.clock,
        )
        assert grant.clock < seen.clock < row.lease_until
        # What is committed from now on is either in the look or later than the lease.
        assert [step.position for step in cluster.look(START).steps] == [1, 2, 3]

    @pytest.mark.parametrize("lease_seconds", [1.0, 5.0, 30.0])
    def test_a_lease_is_counted_by_the_databases_clock_with_room_for_clocks_that_run_apart(
        self, store: Store, cluster: Cluster, lease_seconds: float
    ) -> None:
        before = store.ping()
        grant = cluster.report(report_of(lease_seconds=lease_seconds))
        after = store.ping()
        assert before <= grant.clock <= after
        [row] = cluster.nodes().rows
        length = row.lease_until - grant.clock
        assert length == round(lease_seconds * SECONDS * 1.001 / 0.999) + 1_000
        # A clock a thousandth too slow at the node, and one a thousandth too fast here.
        assert length > lease_seconds * SECONDS / 0.999 * 1.001

    def test_who_does_not_confirm_is_granted_no_second_lease(
        self, store: Store, cluster: Cluster
    ) -> None:
        changed(store, 3)
        assert cluster.report(report_of()).is_granted
        [first] = cluster.nodes().rows
        for applied in (0, 1, 2):
            grant = cluster.report(report_of(applied=applied))
            assert not grant.is_granted
            [row] = cluster.nodes().rows
            assert row == replace(first, applied=applied, seen_at=row.seen_at)
            assert row.seen_at >= grant.clock
        grant = cluster.report(report_of(applied=3))
        assert grant.is_granted
        [second] = cluster.nodes().rows
        assert second.lease_until > first.lease_until
        assert (second.promised, second.started_at) == (3, first.started_at)

    def test_who_confirms_what_it_was_promised_is_granted_the_next_however_the_log_grows(
        self, store: Store, cluster: Cluster
    ) -> None:
        applied = 0
        for turn in range(1, 6):
            changed(store, turn)
            assert cluster.report(report_of(applied=applied)).is_granted
            [row] = cluster.nodes().rows
            assert row.promised == last_of(cluster).position
            applied = row.promised
        assert not cluster.report(report_of(applied=applied - 1)).is_granted

    def test_a_report_that_is_carried_out_late_takes_nothing_back(
        self, store: Store, cluster: Cluster
    ) -> None:
        """It was sent on a connection that was given up since."""
        changed(store, 3)
        cluster.report(report_of())
        assert cluster.report(report_of(applied=3, settled_until=50)).is_granted
        [before] = cluster.nodes().rows
        assert not cluster.report(report_of(applied=1, settled_until=20)).is_granted
        [row] = cluster.nodes().rows
        assert row == replace(before, seen_at=row.seen_at)

    def test_nodes_are_told_apart_by_their_ids(
        self, store: Store, cluster: Cluster, other: Cluster
    ) -> None:
        changed(store, 2)
        assert cluster.report(report_of(1)).is_granted
        assert other.report(report_of(2, applied=2)).is_granted
        assert not cluster.report(report_of(1)).is_granted
        assert other.report(report_of(2, applied=2)).is_granted
        # The same host after a start.
        assert cluster.report(replace(report_of(3), name="host-1:8484")).is_granted
        rows = cluster.nodes().rows
        assert [row.id for row in rows] == [str(making.id_of(number)) for number in (1, 2, 3)]
        assert [row.applied for row in rows] == [0, 2, 0]
        assert other.nodes().rows == rows

    def test_who_left_has_no_lease_and_is_granted_none(
        self, cluster: Cluster, other: Cluster
    ) -> None:
        cluster.report(report_of(1))
        cluster.report(report_of(2))
        cluster.leave(str(making.id_of(1)))
        seen = other.nodes()
        gone, there = seen.rows
        assert gone.left_at is not None
        assert gone.left_at == pytest.approx(gone.lease_until, abs=1_000)
        assert gone.lease_until < seen.clock < there.lease_until
        assert there.left_at is None
        # A report that was on its way.
        assert not cluster.report(report_of(1)).is_granted
        assert other.nodes().rows[0].lease_until == gone.lease_until
        cluster.leave(str(making.id_of(1)))
        assert other.nodes().rows[0].left_at == gone.left_at
        cluster.leave(str(making.NOBODY))

    def test_old_rows_alone_are_forgotten(self, cluster: Cluster) -> None:
        for number in (1, 2):
            cluster.report(report_of(number))
        cluster.leave(str(making.id_of(1)))
        gone, there = cluster.nodes().rows
        cluster.forget(gone.lease_until)
        assert cluster.nodes().rows == (gone, there)
        cluster.forget(there.seen_at + 1)
        cluster.forget(gone.seen_at + 1)
        assert cluster.nodes().rows == (there,)
        cluster.forget(there.lease_until + 1)
        assert cluster.nodes().rows == ()
        assert cluster.nodes().clock > there.seen_at

    # --- looking ---------------------------------------------------------------------------------

    def test_the_first_look_gives_the_end_of_the_log(self, store: Store, cluster: Cluster) -> None:
        assert cluster.look(None) == LogLook(START, (), is_all=True)
        assert cluster.look(START) == LogLook(START, (), is_all=True)
        changed(store, 2)
        look = cluster.look(None)
        assert look.anchor is not None
        assert look == LogLook(look.anchor, (), is_all=True)
        assert (look.anchor.position, len(look.anchor.seal)) == (2, 33)
        assert look.anchor == after(cluster.look(START).steps[-1])

    def test_a_look_gives_what_came_after_and_names_what_it_touched(
        self, store: Store, cluster: Cluster
    ) -> None:
        made, staff = making.key(1), making.operator(9)
        making.add_workspaces(store, making.workspace())
        first = last_of(cluster)
        making.add_slots(store, making.slot("scheduler-prod"))
        making.add_keys(store, made, making.key(2))
        with store.change() as transaction:
            transaction.operators.add(staff)
            making.log_operator(transaction, staff)
        rotation = making.rotation(5, old=1, new=2)
        making.add_rotations(store, rotation)
        look = cluster.look(first)
        assert (look.anchor, look.is_all) == (first, True)
        assert [step.position for step in look.steps] == [2, 3, 4, 5, 6]
        of_keys = [("key", str(made.id)), ("key", str(making.id_of(2)))]
        assert [step.touched for step in look.steps] == [
            (("slot", f"{making.HOME}/scheduler-prod"),),
            (of_keys[0],),
            (of_keys[1],),
            (("operator", str(staff.id)),),
            (("rotation", str(rotation.id)), *of_keys),
        ]
        assert after(look.steps[-1]) == last_of(cluster)
        assert cluster.look(last_of(cluster)) == LogLook(last_of(cluster), (), is_all=True)

    def test_what_the_log_has_at_a_place_is_told_whatever_was_thought_to_be_there(
        self, store: Store, cluster: Cluster
    ) -> None:
        changed(store, 3)
        steps = cluster.look(START).steps
        look = cluster.look(LogPoint(2, b"of another history"))
        assert (look.anchor, look.steps, look.is_all) == (after(steps[1]), steps[2:], True)
        # A log that is shorter than what was seen of it.
        assert cluster.look(LogPoint(4, steps[-1].seal)) == LogLook(None, (), is_all=True)

    @pytest.mark.parametrize(
        ("count", "pages"),
        [
            (MOST_STEPS, [MOST_STEPS]),
            (MOST_STEPS + 1, [MOST_STEPS, 1]),
            (2 * MOST_STEPS + 7, [MOST_STEPS, MOST_STEPS, 7]),
        ],
    )
    @pytest.mark.parametrize("begun", [0, 1])
    def test_a_long_log_is_looked_at_a_part_at_a_time(
        self, store: Store, cluster: Cluster, count: int, pages: list[int], begun: int
    ) -> None:
        if begun:
            changed(store, begun)
        point = last_of(cluster)
        changed(store, count)
        found, sizes = [], []
        while True:
            look = cluster.look(point)
            assert look.anchor == point
            found += [step.position for step in look.steps]
            sizes.append(len(look.steps))
            point = after(look.steps[-1])
            if look.is_all:
                break
        assert sizes == pages
        assert found == list(range(begun + 1, begun + count + 1))
        assert point == last_of(cluster)

    def test_looks_miss_nothing_and_repeat_nothing_whoever_writes(
        self, store: Store, cluster: Cluster, other: Cluster
    ) -> None:
        writing = [True]

        def write(writer: int) -> None:
            for turn in range(EACH):
                making.add_keys(store, making.key(writer * EACH + turn))

        def follow(cluster: Cluster) -> list[LogStep]:
            point, found = START, list[LogStep]()
            while True:
                was_writing = writing[0]
                look = cluster.look(point)
                assert look.anchor == point
                found += look.steps
                if look.steps:
                    point = after(look.steps[-1])
                elif not was_writing:
                    return found

        with ThreadPoolExecutor(WRITERS + 2) as pool:
            following = [pool.submit(follow, one) for one in (cluster, other)]
            list(pool.map(write, range(WRITERS)))
            writing[0] = False
            mine, others = (one.result() for one in following)
        assert [step.position for step in mine] == list(range(1, WRITERS * EACH + 1))
        assert mine == others
        touched = {one for step in mine for one in step.touched or ()}
        assert touched == {("key", str(making.id_of(n))) for n in range(WRITERS * EACH)}

    # --- hints -----------------------------------------------------------------------------------

    def test_a_change_of_anybody_ends_the_wait(
        self, store: Store, cluster: Cluster, beside: Store
    ) -> None:
        cluster.report(report_of())
        for writer in (store, beside):
            assert not cluster.wait(SHORT)
            changed(writer, 1)
            assert cluster.wait(LONG)
            assert not cluster.wait(SHORT)

    def test_a_hint_that_comes_while_something_else_is_asked_is_not_lost(
        self, cluster: Cluster, beside: Store
    ) -> None:
        cluster.report(report_of())
        changed(beside, 1)
        for _ in range(3):
            cluster.look(START)
        assert cluster.wait(LONG)
        assert not cluster.wait(SHORT)

    def test_what_was_not_changed_is_no_hint(self, cluster: Cluster, beside: Store) -> None:
        cluster.report(report_of())

        def fail() -> None:
            with beside.change() as transaction:
                making.log_key(transaction, making.key(1))
                raise InterruptedError

        with pytest.raises(InterruptedError):
            fail()
        with beside.change() as transaction:
            transaction.log.append(making.entry(1))  # told of, and no verdict is another
        assert not cluster.wait(4 * SHORT)

    def test_who_waits_can_be_hurried_from_elsewhere(self, cluster: Cluster) -> None:
        for is_connected in (False, True):
            if is_connected:
                cluster.report(report_of())
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(cluster.wait, 60.0)
                cluster.hurry()
                assert waiting.result(timeout=10)
            for _ in range(1_000):
                cluster.hurry()  # nobody waits; it ends the next one, once
            assert cluster.wait(60.0)
            assert not cluster.wait(SHORT)

    def test_a_confirmation_is_told_of_and_a_repetition_is_not(
        self, store: Store, cluster: Cluster, other: Cluster
    ) -> None:
        told = list[str]()
        cluster.heed(lambda: told.append("confirmed"))
        changed(store, 3)
        cluster.report(report_of(1))
        cluster.wait(SHORT)
        told.clear()
        for applied, expected in ((0, 1), (2, 1), (2, 0), (3, 1), (3, 0)):
            other.report(report_of(2, applied=applied))
            cluster.wait(2 * SHORT)
            assert len(told) == expected
            told.clear()
        other.leave(str(making.id_of(2)))
        cluster.wait(2 * SHORT)
        assert told == ["confirmed"]

    def test_nodes_that_ask_at_once_do_not_hinder_each_other(
        self, cluster: Cluster, other: Cluster
    ) -> None:
        together, done = Barrier(3), Event()

        def repeat(ask: Callable[[], object]) -> None:
            together.wait(10)
            for _ in range(50):
                ask()
            done.set()

        with ThreadPoolExecutor(3) as pool:
            asked = [
                pool.submit(repeat, ask)
                for ask in (
                    lambda: cluster.report(report_of(1)),
                    lambda: other.report(report_of(2)),
                    cluster.nodes,
                )
            ]
            for one in asked:
                one.result()
        assert len(cluster.nodes().rows) == 2
