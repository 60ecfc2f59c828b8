"""The database starts anew, is killed, and hands over to its standby, while nodes are asked."""

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.servers import Estate, until
from tests.nodes.history import Episode, History
from tests.nodes.nodes import PATIENCE_SECONDS, Group, Json, Node
from tests.nodes.storm import Place
from tests.nodes.test_leading import leader_of
from tests.nodes.trial import Trial, Weather, places_of
from tests.servers.faulty import Cut
from tests.servers.pair import Pair, run_pair
from tests.servers.postgres import Postgres, PostgresUnavailable

FRESHNESS_SECONDS = 1
NODES = 2
CHANGES = 8
WARM_SECONDS = 2.0
# Beyond what the database itself was away for, on a busy machine.
SLACK_SECONDS = 8.0


@contextmanager
def pair_of(*, synchronous: bool) -> Iterator[Pair]:
    with ExitStack() as stack:
        try:
            pair = stack.enter_context(run_pair(synchronous=synchronous))
        except PostgresUnavailable as refusal:
            pytest.fail(str(refusal))
        yield pair


@pytest.fixture
def served(
    tmp_path: Path, postgres: Postgres
) -> Iterator[Callable[..., tuple[Pair, list[Place], Group]]]:
    # (Where `postgres` is skipped, this is.)
    with ExitStack() as stack:

        def serve(*, synchronous: bool) -> tuple[Pair, list[Place], Group]:
            pair = stack.enter_context(pair_of(synchronous=synchronous))
            primary = Postgres(port=pair.primary.port, socket_folder=pair.primary.folder / "socket")
            estate = Estate(tmp_path, lambda: primary)
            found, group, _ = stack.enter_context(
                places_of(estate, primary.port, NODES, FRESHNESS_SECONDS)
            )
            return pair, found, group

        yield serve


def restart(pair: Pair, _: list[Place]) -> None:
    pair.primary.stop(signal.SIGINT)
    pair.primary.start()


def kill(pair: Pair, _: list[Place]) -> None:
    pair.primary.stop(signal.SIGKILL)
    pair.primary.start()


def fail_over(pair: Pair, found: list[Place]) -> None:
    pair.primary.stop(signal.SIGKILL)
    pair.promote()
    for place in found:
        place.proxy.move(pair.standby.port)


def weather_of(
    history: History, pair: Pair, found: list[Place], strike: Callable[[Pair, list[Place]], None]
) -> Weather:
    """One stroke at the database, while there are changes all the time."""

    async def play(is_over: Callable[[], bool]) -> None:
        await asyncio.sleep(WARM_SECONDS)
        began = time.monotonic()
        episodes = [Episode(node=place.name, kind=strike.__name__, began=began) for place in found]
        history.episodes += episodes
        await asyncio.to_thread(strike, pair, found)
        for episode in episodes:
            episode.healed = time.monotonic()

    return play


@pytest.mark.parametrize("strike", [restart, kill, fail_over])
def test_no_answered_change_is_lost_and_nodes_serve_again_by_themselves(
    strike: Callable[[Pair, list[Place]], None],
    served: Callable[..., tuple[Pair, list[Place], Group]],
) -> None:
    pair, found, group = served(synchronous=True)
    history = History(lease_seconds=FRESHNESS_SECONDS)
    weather = weather_of(history, pair, found, strike)
    Trial(found, history, weather, operator=group.operator, revocations=CHANGES, seed=5).run()
    print(history.table())
    assert history.let_in_after() == []
    assert history.lost == []
    assert len(history.changes) == CHANGES
    assert len(history.healing()) == NODES  # every one of them, without a hand
    assert history.healing()[0][0] < 2.0 + SLACK_SECONDS


def revoke(group: Group, node: Node, key: Json) -> None:
    path = f"/v1/api-keys/{key['id']}"
    answer = node.call("DELETE", path, group.operator, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202


def why_not_ready(node: Node) -> str:
    answer = node.client.get("/readyz")
    assert answer.status_code == 503
    return str(answer.json()["checks"]["verifier"])


def test_a_failover_that_lost_changes_is_denied_by_who_had_seen_them_and_by_nobody_else(
    served: Callable[..., tuple[Pair, list[Place], Group]],
) -> None:
    pair, (ahead, behind), group = served(synchronous=False)
    kept, taken = group.key(ahead.node), group.key(ahead.node)
    for place in (ahead, behind):
        for key in (kept, taken):
            assert place.node.verify(group.operator, key["api_key"]) == "valid"
    lag = "SELECT pg_current_wal_lsn() = replay_lsn FROM pg_stat_replication"
    assert until(lambda: pair.primary.ask(lag) is True, PATIENCE_SECONDS)
    for proxy in (pair.stream, behind.proxy):
        proxy.cut(Cut.SILENT)
    revoke(group, ahead.node, taken)
    assert until(
        lambda: ahead.node.verify(group.operator, taken["api_key"]) == "revoked", PATIENCE_SECONDS
    )
    fail_over(pair, [ahead, behind])
    behind.proxy.heal()

    def serves(place: Place) -> bool:
        return place.node.verify(group.operator, kept["api_key"]) == "valid"

    assert until(lambda: serves(behind), PATIENCE_SECONDS)
    assert until(
        lambda: ahead.node.verify(group.operator, kept["api_key"]) == "freshness_lost",
        PATIENCE_SECONDS,
    )
    for key in (kept, taken):
        assert ahead.node.verify(group.operator, key["api_key"]) == "freshness_lost"
    assert why_not_ready(ahead.node).startswith(
        ("The database's log is not", "The log does not go on")
    )
    # Nor does it lead: everything that it would do by itself would be refused.
    assert until(lambda: leader_of(group) is behind.node, PATIENCE_SECONDS)
    # The history that survived is a history in which it was not revoked: revoke it there.
    answer = behind.node.call("DELETE", f"/v1/api-keys/{taken['id']}", group.operator)
    assert answer.status_code in (200, 204)
    assert behind.node.verify(group.operator, taken["api_key"]) == "revoked"
    # However far that goes on, it is not the one that the other has followed.
    for _ in range(4):
        group.key(behind.node)
    assert serves(behind)
    assert ahead.node.verify(group.operator, kept["api_key"]) == "freshness_lost"
    # Started anew, it knows of no other history than the one that survived.
    ahead.node.kill()
    ahead.node.start()
    assert until(lambda: serves(ahead), PATIENCE_SECONDS)
    assert ahead.node.verify(group.operator, taken["api_key"]) == "revoked"


def test_a_node_that_has_signed_what_is_lost_denies_until_a_person_moves_its_file_aside(
    served: Callable[..., tuple[Pair, list[Place], Group]],
) -> None:
    pair, (ahead, behind), group = served(synchronous=False)
    taken = group.key(ahead.node)
    lag = "SELECT pg_current_wal_lsn() = replay_lsn FROM pg_stat_replication"
    assert until(lambda: pair.primary.ask(lag) is True, PATIENCE_SECONDS)
    for proxy in (pair.stream, behind.proxy):
        proxy.cut(Cut.SILENT)
    heads = ahead.node.installation.home / "activity.heads"
    revoke(group, ahead.node, taken)
    with psycopg.connect(ahead.node.installation.database_url, autocommit=True) as asked:
        row = asked.execute("SELECT activity_number FROM change_head").fetchone()
    assert row is not None
    reached = row[0]

    def signed() -> int:
        return max(int(json.loads(line)["number"]) for line in heads.read_text().splitlines())

    assert until(lambda: signed() >= reached, PATIENCE_SECONDS)
    fail_over(pair, [ahead, behind])
    behind.proxy.heal()

    def says(place: Place) -> str:
        return place.node.verify(group.operator, taken["api_key"])

    # The history that survived is one in which it was not revoked: revoke it there.
    assert until(lambda: says(behind) == "valid", PATIENCE_SECONDS)
    answer = behind.node.call("DELETE", f"/v1/api-keys/{taken['id']}", group.operator)
    assert answer.status_code in (200, 204)
    assert until(lambda: says(ahead) == "freshness_lost", PATIENCE_SECONDS)
    ahead.node.kill()
    ahead.node.start()
    time.sleep(FRESHNESS_SECONDS * 2)
    assert says(ahead) == "freshness_lost"
    assert "signed heads" in why_not_ready(ahead.node)
    ahead.node.kill()
    heads.rename(heads.with_name("activity.heads.lost"))
    ahead.node.start()
    assert until(lambda: says(ahead) == "revoked", PATIENCE_SECONDS)
