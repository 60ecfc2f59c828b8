"""Unusual use of a key, as it is told: within seconds, with reasons, and never of a steady one."""

from typing import Any

from tests.acceptance.api import Workspace, expect
from tests.acceptance.servers import until
from tests.acceptance.test_findings import PATIENCE_SECONDS, findings, found

EVIDENCE = {"what", "since", "baseline", "certainty", "blind_spot", "next_step"}


def of(home: Workspace, key_id: str, kind: str, **query: Any) -> Any:
    (one,) = found(home, kind, subject_id=key_id, **query)
    assert set(one["evidence"]) >= EVIDENCE
    assert one["subject"]["type"] == "api_key"
    return one


def test_a_key_in_a_browser_is_found(home: Workspace) -> None:
    key = home.admin.create(owner="ops")
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://pins.example"}
    assert home.verify(key.token, headers=headers)["valid"]
    one = of(home, key.id, "usage.browser")
    assert one["severity"] == "critical"
    assert one["evidence"]["certainty"] == "high"
    assert one["evidence"]["sign"] == "sec-fetch"


def test_a_revoked_key_that_is_used_is_found(home: Workspace) -> None:
    key = home.admin.create(owner="ops")
    assert home.verify(key.token)["valid"]
    expect(home.admin.delete(key.path), 204)
    assert not home.verify(key.token, runtime="worker")["valid"]
    one = of(home, key.id, "usage.after_revocation")
    assert one["evidence"]["denied"] >= 1
    assert one["evidence"]["runtimes"] == ["worker"]


def test_a_key_in_several_hands_is_found(home: Workspace) -> None:
    key = home.admin.create(owner="ops")
    for agent in ("curl/8.1", "axios/1.6", "Wget/1.2") * 2:
        home.verify(key.token, user_agent=agent)
    one = of(home, key.id, "usage.shared_key")
    told = {each["runtime"] for each in one["evidence"]["runtimes"]}
    assert told == {"ua:curl", "ua:axios", "ua:Wget"}


def test_a_key_in_another_environment_is_found(home: Workspace) -> None:
    key = home.admin.create(name="pins-prod", owner="ops")
    home.verify(key.token, environment="production")
    home.verify(key.token, environment="staging")
    one = of(home, key.id, "usage.several_environments")
    assert (one["evidence"]["home"], one["evidence"]["environment"]) == ("prod", "stage")


def test_of_a_steady_key_nothing_is_found(home: Workspace) -> None:
    steady, other = (home.admin.create(owner="ops") for _ in range(2))
    for number in range(30):
        home.verify(
            steady.token,
            runtime="worker",
            user_agent="acme/1.0",
            environment=steady.body["environment"],
            method="GET",
            path=f"/pins/{number}",
            headers={"User-Agent": "acme/1.0", "Sec-Fetch-Mode": "cors"},
        )
    home.verify(other.token, headers={"Sec-Fetch-Dest": "empty"})  # once it is told, all was seen
    of(home, other.id, "usage.browser")
    assert until(lambda: findings(home, subject_id=steady.id) == [], PATIENCE_SECONDS)
