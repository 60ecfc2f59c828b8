"""An operator who is revoked by a command is nobody at each node once the command has ended."""

import json

from tests.nodes.nodes import Group


def test_what_a_command_takes_away_is_gone_at_each_node_when_it_ends(group: Group) -> None:
    nodes = [group.start() for _ in range(2)]
    installation = nodes[0].installation
    key = group.key(nodes[0])["api_key"]
    file = installation.home / "ada.token"
    made = installation.command(
        *("operators", "create", "--name", "Ada", "--verify-only", "--output", str(file), "--json")
    )
    assert made.returncode == 0, made.stderr
    token = file.read_text().strip()
    assert [node.verify(token, key) for node in nodes] == ["valid"] * 2
    told = installation.command("operators", "revoke", json.loads(made.stdout)["id"])
    assert told.stdout.strip() == "Operator Ada is revoked, on 2 nodes."
    answers = [node.call("POST", "/v1/verify", token, {"api_key": key}) for node in nodes]
    assert [answer.status_code for answer in answers] == [401] * 2


def test_of_a_node_that_is_cut_off_it_tells_until_when_it_may_go_on(group: Group) -> None:
    """Whoever calls may do so for a workspace that gives it a grace."""
    here, there = group.start(), group.start()
    installation = here.installation
    path = f"/v1/workspaces/{group.key(here)['workspace_id']}"
    answer = here.call("PATCH", path, group.operator, {"grace_seconds": 300})
    assert answer.status_code == 200, answer.text
    file = installation.home / "bob.token"
    made = installation.command(
        *("operators", "create", "--name", "Bob", "--output", str(file), "--json")
    )
    there.pause()
    told = installation.command("operators", "revoke", json.loads(made.stdout)["id"])
    assert told.returncode == 0, told.stderr
    assert "a node that is cut off may take the token until 20" in told.stdout
