"""How soon a revocation is effective is measured before one is needed, at each node by name."""

import re

from tests.acceptance.servers import until
from tests.nodes.nodes import Group, Node

FIGURE = re.compile(
    r'^keyturn_revocation_propagation_seconds_count\{node="([^"]+)"\} ([\d.]+)$', re.MULTILINE
)
PATIENCE_SECONDS = 20.0


def measured(node: Node) -> dict[str, float]:
    """How often each node was measured, as one of them tells."""
    found = FIGURE.findall(node.client.get("/metrics").text)
    return {name: float(count) for name, count in found}


def test_the_node_that_leads_measures_all_of_them_again_and_again(group: Group) -> None:
    nodes = [group.start(probe_seconds="1") for _ in range(2)]
    names = {node.name for node in nodes}

    def is_measured() -> bool:
        leaders = [counts for node in nodes if (counts := measured(node))]
        return any(counts.keys() == names and min(counts.values()) >= 2 for counts in leaders)

    assert until(is_measured, PATIENCE_SECONDS)
    # The other one does not: two that probe would measure each other's haste.
    assert [measured(node) for node in nodes].count({}) == 1


def test_a_revocation_is_measured_by_the_node_that_it_was_asked_of(group: Group) -> None:
    nodes = [group.start(probe_seconds="0") for _ in range(2)]
    key = group.key(nodes[0])
    answer = nodes[1].call("DELETE", f"/v1/api-keys/{key['id']}", group.operator)
    assert answer.status_code == 204
    assert measured(nodes[1]) == {node.name: 1.0 for node in nodes}
    assert measured(nodes[0]) == {}


def test_probes_are_nobodys_activity(group: Group) -> None:
    node = group.start(probe_seconds="1")
    assert until(lambda: measured(node) != {}, PATIENCE_SECONDS)
    (workspace,) = node.call("GET", "/v1/workspaces", group.operator).json()
    found = node.call(
        "GET", "/v1/activity-logs", group.operator, headers={"Keyturn-Workspace": workspace["id"]}
    )
    assert "installation.probed" not in found.text
    assert found.status_code == 200
