"""One node leads; when it is gone another does, and what must be alone is."""

import time

import psycopg

from tests.acceptance.servers import until
from tests.nodes.nodes import Group, Json, Node


def leader_of(group: Group) -> Node | None:
    """The node whose log says so last."""
    for node in group.nodes:
        lines = [line for line in node.log().splitlines() if "leading" in line]
        if lines and "leading no more" not in lines[-1]:
            return node
    return None


def start_rotation(group: Group, node: Node) -> Json:
    key = group.key(node)
    answer = node.call(
        "POST",
        f"/v1/api-keys/{key['id']}/rotations",
        group.operator,
        {"quiet_seconds": 0, "brownout_seconds": 0},
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


def has_ended(group: Group, node: Node, rotation: Json) -> bool:
    answer = node.call("GET", f"/v1/rotations/{rotation['id']}", group.operator)
    return bool(answer.json()["state"] == "completed")


def test_when_the_leader_is_killed_another_goes_on(group: Group) -> None:
    first, second, third = (group.start() for _ in range(3))
    assert until(lambda: leader_of(group) is first)
    first.server.kill()
    group.nodes.remove(first)
    assert until(lambda: leader_of(group) in (second, third), 10)
    rotation = start_rotation(group, third)
    assert second.verify(group.operator, rotation["api_key"]) == "valid"
    assert until(lambda: has_ended(group, third, rotation), 20)


def test_uses_at_every_node_count_as_evidence(group: Group) -> None:
    """A rotation is not ended by the leader while somebody uses the old key elsewhere."""
    nodes = [group.start() for _ in range(2)]
    assert until(lambda: leader_of(group) is nodes[0])
    other = nodes[1]
    key = group.key(other)
    assert other.verify(group.operator, key["api_key"], runtime="worker") == "valid"
    terms = {"quiet_seconds": 2, "brownout_seconds": 0}
    path = f"/v1/api-keys/{key['id']}/rotations"
    rotation = other.call("POST", path, group.operator, terms).json()
    assert other.verify(group.operator, rotation["api_key"], runtime="worker") == "valid"
    until_then = time.monotonic() + 4
    while time.monotonic() < until_then:
        assert other.verify(group.operator, key["api_key"], runtime="worker") == "valid"
        time.sleep(0.2)
    assert not has_ended(group, other, rotation)
    assert until(lambda: has_ended(group, other, rotation), 20)


def test_what_must_be_alone_is_refused_beside_nodes(group: Group) -> None:
    node = group.start()
    for command in ("migrate", "init"):
        beside = group.prepare()
        done = beside.installation.command(command)
        assert done.returncode != 0
        told = done.stderr
        assert "Another Keyturn serves this database" in told or "installation" in told
    assert node.client.get("/readyz").status_code == 200


def test_migrate_waits_for_the_lease_of_a_node_that_was_killed(group: Group) -> None:
    node = group.start()
    node.server.kill()
    began = time.monotonic()
    done = group.prepare().installation.command("migrate")
    assert done.returncode == 0, done.stderr
    # Its lease began at most a moment before it was killed.
    assert time.monotonic() - began > 1.0


def test_a_node_is_refused_while_somebody_is_alone_with_the_database(group: Group) -> None:
    node = group.prepare()
    with psycopg.connect(node.installation.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (0x6B657974,))
        done = node.installation.command("serve")
        assert done.returncode != 0
        assert "makes, migrates or restores this database" in done.stderr
    assert node.start().client.get("/readyz").status_code == 200


def test_one_data_folder_is_one_nodes(group: Group) -> None:
    node = group.start()
    done = node.installation.command("serve")
    assert done.returncode != 0
    assert f"(process {node.server.id})" in done.stderr
