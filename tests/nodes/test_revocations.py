"""What is taken away at one node is gone at all of them."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg
import pytest

from tests.acceptance.servers import until
from tests.nodes.conftest import FRESHNESS_SECONDS
from tests.nodes.nodes import Group, Json, Node, propagation_of

# The promise, and what a machine may be late with an answer that was due.
LATE_SECONDS = FRESHNESS_SECONDS + 0.6
SLACK_SECONDS = 2.0

Narrow = Callable[[Group, Node, Json], object]


def _is(answer: object, status: int = 200) -> None:
    assert getattr(answer, "status_code", None) == status, getattr(answer, "text", answer)


def _patch(group: Group, node: Node, path: str, body: Json) -> None:
    found = node.call("GET", path, group.operator)
    headers = {"If-Match": found.headers["ETag"]}
    _is(node.call("PATCH", path, group.operator, body, headers))


def test_a_key_revoked_at_one_node_is_refused_at_each_from_the_answer_on(group: Group) -> None:
    nodes = [group.start() for _ in range(3)]
    for number in range(12):
        key = group.key(nodes[number % 3])
        for node in nodes:
            assert node.verify(group.operator, key["api_key"]) == "valid"
        answer = nodes[(number + 1) % 3].call("DELETE", f"/v1/api-keys/{key['id']}", group.operator)
        assert answer.status_code in (200, 204)
        codes = [node.verify(group.operator, key["api_key"]) for node in nodes]
        assert codes == ["revoked"] * 3
        told = propagation_of(answer)
        assert (told["state"], told["nodes"]) == ("complete", "3")
        assert "expired" not in told


def test_who_would_not_wait_finds_it_done_at_the_node_that_did_it(group: Group) -> None:
    """Also where that node has not come so far in the log: here it cannot report."""
    node = group.start()
    key = group.key(node)
    assert node.verify(group.operator, key["api_key"]) == "valid"
    prefer = {"Prefer": "respond-async"}
    with psycopg.connect(node.installation.database_url) as held:
        held.execute("LOCK TABLE nodes IN EXCLUSIVE MODE")
        time.sleep(0.6)  # by then it waits
        answer = node.call("DELETE", f"/v1/api-keys/{key['id']}", group.operator, headers=prefer)
        _is(answer, 202)
        code = node.verify(group.operator, key["api_key"])
    assert code != "valid"
    assert until(lambda: node.verify(group.operator, key["api_key"]) == "revoked", 20)


class Users:
    """Threads that use a key at some nodes, one call after the other."""

    def __init__(self, group: Group, nodes: list[Node], key: Json) -> None:
        self.codes: list[tuple[float, str]] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._use, args=(group.operator, node, key["api_key"]))
            for node in nodes
        ]
        for thread in self._threads:
            thread.start()

    def _use(self, caller: str, node: Node, token: str) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            self.codes.append((began, node.verify(caller, token)))

    def wait(self, calls: int) -> bool:
        """Until there were so many more."""
        enough = len(self.codes) + calls
        return until(lambda: len(self.codes) >= enough, 20)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_nobody_is_let_in_by_a_call_that_began_after_the_revocation_was_answered(
    group: Group,
) -> None:
    nodes = [group.start() for _ in range(3)]
    for _ in range(4):
        key = group.key(nodes[0])
        users = Users(group, nodes[:2], key)
        assert users.wait(20)
        answer = nodes[2].call("DELETE", f"/v1/api-keys/{key['id']}", group.operator)
        answered_at = time.monotonic()
        assert users.wait(20)
        users.stop()
        assert answer.status_code in (200, 204)
        late = [code for began, code in users.codes if began > answered_at]
        assert late
        assert set(late) == {"revoked"}


def _suspend(group: Group, node: Node, key: Json) -> None:
    _is(node.call("POST", f"/v1/api-keys/{key['id']}/suspend", group.operator, {}))


def _expire(group: Group, node: Node, key: Json) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    expires_at = soon.isoformat().replace("+00:00", "Z")
    _patch(group, node, f"/v1/api-keys/{key['id']}", {"expires_at": expires_at})
    time.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds()))


def _suspend_workspace(group: Group, node: Node, key: Json) -> None:
    _patch(group, node, f"/v1/workspaces/{key['workspace_id']}", {"status": "suspended"})


def _revoke(group: Group, node: Node, key: Json) -> dict[str, str]:
    """Where the revocation has arrived. A node that stands still in the middle of a change holds
    up others for as long as the database lets it; whoever waited in vain is told to repeat."""
    path = f"/v1/api-keys/{key['id']}"
    answer = node.call("DELETE", path, group.operator)
    for _ in range(4):
        if answer.status_code == 503:
            answer = node.call("DELETE", path, group.operator)
    return propagation_of(answer)


NARROWINGS: dict[str, tuple[Narrow, str]] = {
    "scopes": (
        lambda group, node, key: _patch(
            group, node, f"/v1/api-keys/{key['id']}", {"scopes": ["read"]}
        ),
        "scope_denied",
    ),
    "networks": (
        lambda group, node, key: _patch(
            group, node, f"/v1/api-keys/{key['id']}", {"allowed_cidrs": ["203.0.113.0/24"]}
        ),
        "network_denied",
    ),
    "expiry": (_expire, "expired"),
    "suspended": (_suspend, "suspended"),
    "workspace": (_suspend_workspace, "suspended"),
}


@pytest.mark.parametrize("name", NARROWINGS)
def test_each_narrowing_is_effective_at_every_node_from_its_answer_on(
    name: str, group: Group
) -> None:
    nodes = [group.start() for _ in range(2)]
    narrow, code = NARROWINGS[name]
    key = group.key(nodes[0], scopes=["read", "write"])
    asked = {"scopes": ["write"], "ip": "198.51.100.7"}
    for node in nodes:
        assert node.verify(group.operator, key["api_key"], **asked) == "valid"
    narrow(group, nodes[1], key)
    codes = [node.verify(group.operator, key["api_key"], **asked) for node in nodes]
    assert codes == [code] * 2


def test_a_node_that_is_cut_off_denies_in_time_and_serves_again_soon(group: Group) -> None:
    near, far = group.start(), group.start(behind_proxy=True)
    assert far.proxy is not None
    kept, taken = group.key(near), group.key(near)
    for key in (kept, taken):
        assert far.verify(group.operator, key["api_key"]) == "valid"
    far.proxy.fall_silent()
    cut_at = time.monotonic()
    answer = near.call("DELETE", f"/v1/api-keys/{taken['id']}", group.operator)
    took = time.monotonic() - cut_at
    told = propagation_of(answer)
    assert (told["state"], told["nodes"], told["expired"]) == ("complete", "2", "1")
    assert took < LATE_SECONDS + SLACK_SECONDS
    # From the answer on, however soon that came.
    for key in (kept, taken):
        assert far.verify(group.operator, key["api_key"]) == "freshness_lost"
    readiness = far.client.get("/readyz")
    assert readiness.status_code == 503
    assert readiness.json()["checks"]["verifier"] != "ok"
    assert near.verify(group.operator, kept["api_key"]) == "valid"
    assert near.client.get("/readyz").json()["checks"]["verifier"] == "ok"
    # One that is revoked while the lease is over waits for nobody.
    began = time.monotonic()
    another = group.key(near)
    told = propagation_of(near.call("DELETE", f"/v1/api-keys/{another['id']}", group.operator))
    assert told["expired"] == "1"
    assert time.monotonic() - began < SLACK_SECONDS
    far.proxy.speak_again()
    healed_at = time.monotonic()
    assert until(lambda: far.verify(group.operator, kept["api_key"]) == "valid", 10)
    assert time.monotonic() - healed_at < 2.0 + SLACK_SECONDS
    assert far.verify(group.operator, taken["api_key"]) == "revoked"


def _asked_while_it_stands(group: Group, node: Node, key: Json) -> set[str]:
    """What a node says, once it goes on, to calls that were sent while it stood still."""
    seen: list[str] = []

    def ask() -> None:
        seen.append(node.verify(group.operator, key["api_key"]))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    node.go_on()
    for thread in threads:
        thread.join()
    return set(seen)


def test_a_node_that_was_stopped_for_long_lets_nothing_old_in(group: Group) -> None:
    near, far = group.start(), group.start()

    def says_revoked(key: Json) -> bool:
        return far.verify(group.operator, key["api_key"]) == "revoked"

    for _ in range(3):
        key = group.key(near)
        assert far.verify(group.operator, key["api_key"]) == "valid"
        far.pause()
        assert _revoke(group, near, key)["expired"] == "1"
        assert _asked_while_it_stands(group, far, key) <= {"freshness_lost", "revoked"}
        assert until(partial(says_revoked, key), 10)


def test_a_node_that_says_goodbye_is_waited_for_by_nobody(group: Group) -> None:
    nodes = [group.start() for _ in range(2)]
    key = group.key(nodes[0])
    assert nodes[1].verify(group.operator, key["api_key"]) == "valid"
    assert nodes[1].server.stop() == 0
    told = propagation_of(nodes[0].call("DELETE", f"/v1/api-keys/{key['id']}", group.operator))
    assert (told["state"], told["nodes"]) == ("complete", "1")
    assert "expired" not in told
