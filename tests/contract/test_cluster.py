"""Several nodes on one PostgreSQL: the contract, and what is that engine's own."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest

from keyturn.domain.error import IntegrityFailed, StorageUnavailable
from keyturn.domain.key import RevocationReason
from keyturn.services.revoke import revoke_key
from keyturn.storage.contract import START, Cluster, LogLook, LogPoint, Reference, Store
from keyturn.storage.postgresql import PostgresStore
from keyturn.storage.sealed import Damage
from keyturn.testing.storage import ClusterContract, making
from keyturn.testing.storage.clustering import report_of
from tests.contract.hostile import Row, columns, edits, loosen
from tests.houses import SEALER, Ground, House, Plots
from tests.servers.postgres import Postgres
from tests.servers.silence import SilentProxy


@pytest.fixture
def house(build_house: Callable[[str], House]) -> House:
    return build_house("postgresql")


def cluster_of(store: Store) -> Cluster:
    assert store.cluster is not None
    return store.cluster


@pytest.fixture
def ground(plots: Plots) -> Iterator[Ground]:
    ground = plots.migrated("postgresql")
    yield ground
    plots.clear(ground)


@pytest.fixture
def damage() -> list[Damage]:
    return []


@pytest.fixture
def store(ground: Ground, damage: list[Damage]) -> Iterator[Store]:
    store = ground.open(damage.append)
    yield store
    store.close()


@pytest.fixture
def beside(ground: Ground, damage: list[Damage]) -> Iterator[Store]:
    store = ground.open(damage.append)
    yield store
    store.close()


class TestPostgres(ClusterContract):
    """The one engine on which there may be several nodes."""


# --- what is this engine's own --------------------------------------------------------------------


def report_within(seconds: float, cluster: Cluster, lease_seconds: float) -> bool:
    """Whether the node could report; in that time it is told."""
    began = time.monotonic()
    try:
        cluster.report(report_of(lease_seconds=lease_seconds))
    except StorageUnavailable:
        return False
    finally:
        assert time.monotonic() - began < seconds
    return True


def test_a_grant_is_durable_and_its_look_later_whatever_the_databases_defaults(
    house: House,
) -> None:
    with house.raw() as raw:
        name = raw.run("SELECT current_database()")[0][0]
        for setting, value in (
            ("synchronous_commit", "off"),
            ("default_transaction_isolation", "serializable"),
        ):
            raw.run(f"ALTER DATABASE {name} SET {setting} = '{value}'")
        raw.run("CREATE TABLE witnessed (setting TEXT)")
        raw.run(
            "CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " INSERT INTO witnessed VALUES (current_setting('synchronous_commit')),"
            " (current_setting('transaction_isolation')); RETURN NEW; END $$"
        )
        raw.run(
            "CREATE TRIGGER witnessing AFTER INSERT OR UPDATE ON nodes"
            " FOR EACH ROW EXECUTE FUNCTION witness()"
        )
    fresh = house.again()
    cluster = cluster_of(fresh.store)
    cluster.report(report_of())
    cluster.leave(report_of().id)
    fresh.close()
    found = {setting for (setting,) in house.run("SELECT setting FROM witnessed")}
    assert found == {"on", "read committed"}


@pytest.mark.parametrize("lease_seconds", [1.0, 3.0])
def test_a_silent_server_costs_a_node_a_part_of_its_lease_and_no_more(
    house: House, postgres: Postgres, lease_seconds: float
) -> None:
    bound = max(lease_seconds / 4, 0.25) + 0.6
    with SilentProxy(postgres.port) as proxy:
        store = PostgresStore(proxy.url(house.ground.place), SEALER, house.damage.append)
        cluster = cluster_of(store)
        assert report_within(5, cluster, lease_seconds)
        seen = cluster.nodes()
        proxy.fall_silent()
        with ThreadPoolExecutor() as pool:
            asking = pool.submit(cluster.nodes)
            assert not report_within(bound, cluster, lease_seconds)
            assert not cluster.wait(0.1)
            for _ in range(2):  # each with a connection of its own that is not made
                assert not report_within(1.5, cluster, lease_seconds)
            with pytest.raises(StorageUnavailable):
                asking.result(timeout=5)
        # While the link heals an answer to an earlier call may come, and is none of a later one.
        proxy.speak_again()
        assert report_within(2, cluster, lease_seconds)
        assert cluster.look(None).anchor is not None
        assert cluster.nodes().clock > seen.clock
        assert cluster_of(house.store).nodes().rows[0].id == report_of().id
        store.close()


def test_a_look_that_is_held_up_is_given_up_on(house: House) -> None:
    cluster = cluster_of(house.store)
    cluster.report(report_of(lease_seconds=1.0))
    with psycopg.connect(house.ground.place) as connection:
        connection.execute("LOCK TABLE changes IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        with pytest.raises(StorageUnavailable):
            cluster.look(START)
        assert time.monotonic() - began < 1
    assert cluster.look(START).is_all


def test_connections_that_were_cut_off_are_made_anew(house: House) -> None:
    cluster = cluster_of(house.store)
    for _ in range(2):
        assert report_within(5, cluster, 5.0)
        assert cluster.nodes().rows
        house.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name IN ('keyturn follower', 'keyturn nodes')"
        )
        assert cluster.nodes().rows
        assert not cluster.wait(30.0)  # at once: there is nothing to wait on
        assert report_within(5, cluster, 5.0)
        house.issue()
        assert cluster.wait(30.0)


def test_a_node_that_was_away_while_somebody_migrated_follows_no_more(house: House) -> None:
    cluster = cluster_of(house.store)
    assert report_within(5, cluster, 5.0)
    with house.raw() as raw:
        raw.run("UPDATE alembic_version SET version_num = 'later'")
        assert report_within(5, cluster, 5.0)  # nobody migrates while it is connected
        raw.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'keyturn follower' AND datname = current_database()"
        )
        assert not report_within(5, cluster, 5.0)
        for _ in range(2):
            with pytest.raises(IntegrityFailed, match="migrated meanwhile"):
                cluster.report(report_of(lease_seconds=5.0))
    # Nor does it change anything: its seals would not cover what later versions keep.
    with pytest.raises(IntegrityFailed, match="migrated meanwhile"):
        house.issue()


def test_when_the_process_ends_nobody_waits_any_more(house: House) -> None:
    store = house.ground.open(house.damage.append)
    cluster = cluster_of(store)
    cluster.report(report_of())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cluster.wait, 60.0)
        store.hurry()
        waiting.result(timeout=5)
    for _ in range(2):
        store.close()
    for ask in (cluster.nodes, lambda: cluster.report(report_of()), lambda: cluster.look(None)):
        with pytest.raises(StorageUnavailable):
            ask()
    cluster.wait(0.01)
    assert not cluster.wait(0.01)
    cluster.hurry()
    assert cluster.wait(0.01)
    cluster.close()


def test_a_server_that_is_gone_is_storage_unavailable_to_a_node() -> None:
    ground = Ground("postgresql", "postgresql://keyturn@127.0.0.1:1/nothing")
    store = ground.open(lambda _: None)
    cluster = cluster_of(store)
    for ask in (
        lambda: cluster.report(report_of()),
        lambda: cluster.look(None),
        lambda: cluster.look(START),
        cluster.nodes,
        lambda: cluster.leave("1"),
        lambda: cluster.forget(1),
        lambda: store.credentials.fill(Reference(id=UUID(int=1), is_operators=False)),
    ):
        with pytest.raises(StorageUnavailable):
            ask()
    assert not cluster.wait(0.01)
    store.close()


# --- what a hostile hand leaves in the log --------------------------------------------------------


def test_a_change_that_was_tampered_with_is_a_step_of_which_nothing_is_known(
    house: House,
) -> None:
    for name in ("one-prod", "two-prod", "three-prod"):
        house.issue(name=name)
    cluster = cluster_of(house.store)
    genuine = cluster.look(START)
    place = len(genuine.steps) - 2
    poisoned = genuine.steps[place]
    loosen(house, "changes")
    row = Row("changes", {"position": poisoned.position})
    tried = set[str]()
    with house.raw() as raw:
        for column, hostile in edits(house, raw, row):
            tried.add(column)
            look = cluster.look(START)
            told = (column, hostile.name)
            if column == "position":  # it is elsewhere now, or the same row before all others
                others = [step for step in look.steps if step.seal != poisoned.seal]
                assert others == [one for one in genuine.steps if one != poisoned], told
                assert all(
                    step.touched is None for step in look.steps if step.seal == poisoned.seal
                ), told
                continue
            assert look.anchor == START, told
            [changed] = [step for step in look.steps if step not in genuine.steps]
            assert (changed.position, changed.touched) == (poisoned.position, None), told
            assert isinstance(changed.seal, bytes), told
            assert len(look.steps) == len(genuine.steps), told
            # Where it stands, and at the end, it is a point like any other.
            point = LogPoint(changed.position, changed.seal)
            assert cluster.look(point) == LogLook(point, genuine.steps[place + 1 :], is_all=True)
    assert tried == {*columns(house, "changes")}
    assert cluster.look(START) == genuine


def test_the_end_of_the_log_is_a_point_whatever_stands_there(house: House) -> None:
    key = house.issue().token
    cluster, credentials = cluster_of(house.store), house.store.credentials
    genuine = cluster.look(None)
    assert genuine.anchor is not None
    loosen(house, "changes")
    row = Row("changes", {"position": genuine.anchor.position})
    asked = Reference(id=key.id, is_operators=False)
    with house.raw() as raw:
        for column, hostile in edits(house, raw, row):
            look, fill = cluster.look(None), credentials.fill(asked)
            assert fill.point == look.anchor, (column, hostile.name)
            if column not in ("position", "mac"):
                assert look == genuine, (column, hostile.name)
            # It was the key's own last change.
            assert (fill.credential, fill.is_damaged) == (None, True), (column, hostile.name)
    assert cluster.look(None) == genuine
    assert credentials.fill(asked).credential is not None


@pytest.mark.parametrize(
    "poison",
    [
        "UPDATE rotations SET old_key_id = NULL",
        "UPDATE rotations SET new_key_id = NULL",
        "UPDATE rotations SET old_key_id = 'a b c'",
        "DELETE FROM rotations",
    ],
)
def test_a_rotation_of_unknown_keys_may_be_of_any(house: House, poison: str) -> None:
    making.add_rotations(house.store, making.rotation(1, workspace_id=house.workspace_id))
    cluster = cluster_of(house.store)
    before = cluster.look(START)
    loosen(house, "rotations")
    house.run(poison)
    look = cluster.look(START)
    assert look.steps[:-1] == before.steps[:-1]
    assert look.steps[-1] == replace(before.steps[-1], touched=None)


def test_rows_at_positions_that_are_none_are_none(house: House) -> None:
    cluster = cluster_of(house.store)
    genuine = cluster.look(START)
    for position in (0, -1, -(2**63)):
        house.run(
            "INSERT INTO changes SELECT :position, kind, ref, version, workspace_id, at, mac"
            " FROM changes WHERE position = 1",
            position=position,
        )
    assert cluster.look(START) == genuine
    house.run("DELETE FROM changes WHERE position > 0")
    assert cluster.look(None) == LogLook(START, (), is_all=True)
    assert cluster.look(genuine.anchor) == LogLook(START, (), is_all=True)


def test_an_old_row_is_damage_to_a_node_that_has_followed_the_log_alone(house: House) -> None:
    """Also where the changes after it were taken out while nobody looked at the row."""
    key = house.issue().token
    asked = Reference(id=key.id, is_operators=False)
    follower = house.again()
    cluster = cluster_of(follower.store)
    row = Row("keys", {"id": str(key.id)})
    with house.raw() as raw:
        old = row.genuine(raw)
        position = cluster.look(None).anchor
        revoke_key(
            house.context, house.act(), house.workspace_id, key.id, RevocationReason.COMPROMISED
        )
        cluster.look(position)
        row.restore(raw, old)
        raw.run("DELETE FROM changes WHERE position > :at", at=position.position if position else 0)
    assert follower.store.credentials.fill(asked).is_damaged
    follower.close()
