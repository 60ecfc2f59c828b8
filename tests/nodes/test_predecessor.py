"""A node that was killed is waited for until its lease is over, unless its successor in the same
folder knows that it is dead."""

import shutil
import time

import pytest

from keyturn.server.predecessor import FILE
from tests.acceptance.servers import until
from tests.nodes.nodes import Group, Node, propagation_of

# So long a lease that it cannot be over while a test looks.
LEASE_SECONDS = "30"
PATIENCE_SECONDS = 20.0


def revoke(group: Group, node: Node, *, at_once: bool = False) -> dict[str, str]:
    key = group.key(node)
    headers = {"Prefer": "respond-async"} if at_once else {}
    answer = node.call("DELETE", f"/v1/api-keys/{key['id']}", group.operator, headers=headers)
    assert answer.status_code == (202 if at_once else 204), answer.text
    return {} if at_once else propagation_of(answer)


def test_who_comes_after_a_node_that_was_killed_is_not_kept_waiting_for_it(group: Group) -> None:
    node = group.start(freshness_seconds=LEASE_SECONDS)
    assert revoke(group, node)["nodes"] == "1"
    node.server.kill()
    node.client.close()
    node.start()
    began = time.monotonic()
    told = revoke(group, node)
    assert told["state"] == "complete"
    assert time.monotonic() - began < float(LEASE_SECONDS) / 2


def test_a_folder_that_was_copied_buries_nobody(group: Group) -> None:
    first = group.start(freshness_seconds=LEASE_SECONDS)
    second = group.prepare(freshness_seconds=LEASE_SECONDS)
    shutil.copy(first.installation.home / FILE, second.installation.home / FILE)
    second.start()
    told = revoke(group, second)
    assert (told["state"], told["nodes"]) == ("complete", "2")
    assert "expired" not in told
    assert first.verify(group.operator, group.key(first)["api_key"]) == "valid"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"node": 1}', b"\xff\xfe"])
def test_a_file_that_tells_nothing_is_written_anew(content: bytes, group: Group) -> None:
    node = group.prepare()
    (node.installation.home / FILE).write_bytes(content)
    node.start()
    assert revoke(group, node)["state"] == "complete"
    assert until(
        lambda: b'"machine"' in (node.installation.home / FILE).read_bytes(), PATIENCE_SECONDS
    )


def test_where_the_lease_of_a_dead_node_runs_on_others_wait_for_it(group: Group) -> None:
    killed, other = group.start(freshness_seconds=LEASE_SECONDS), group.start()
    killed.server.kill()
    revoke(group, other, at_once=True)
    key = group.key(other)
    other.call(
        "DELETE", f"/v1/api-keys/{key['id']}", group.operator, headers={"Prefer": "respond-async"}
    )
    told = other.call("GET", f"/v1/api-keys/{key['id']}/propagation", group.operator).json()
    states = {one["name"]: one["state"] for one in told["nodes"]}
    assert states[killed.name] == "waiting"
    killed.client.close()
    killed.start()
    assert until(lambda: revoke(group, other)["state"] == "complete", PATIENCE_SECONDS)
