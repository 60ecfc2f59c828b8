"""The issue: a row edited, swapped or revived behind the running server's back is denied, alone."""

import json
import re
import sqlite3
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.acceptance.api import Issued, Site, Workspace, expect
from tests.acceptance.servers import Installation, until

PATIENCE_SECONDS = 10


def behind_its_back(installation: Installation, statement: str, **values: object) -> int:
    """Runs SQL with parameters `:named` on the database; how many rows it touched."""
    if installation.engine == "sqlite":
        path = installation.database_url.removeprefix("sqlite:///")
        connection = sqlite3.connect(path, isolation_level=None, timeout=30)
        try:
            connection.execute("PRAGMA ignore_check_constraints=ON")
            return connection.execute(statement, values).rowcount
        finally:
            connection.close()
    with psycopg.connect(installation.database_url, autocommit=True) as postgres:
        spelled = re.sub(r":(\w+)", r"%(\1)s", statement)
        return postgres.execute(spelled.encode(), values).rowcount


@pytest.fixture
def run(site: Site) -> Callable[..., int]:
    def run_one(statement: str, **values: object) -> int:
        return behind_its_back(site.server.installation, statement, **values)

    return run_one


def failures(home: Workspace, key: Issued) -> list[Any]:
    return home.activity(action="integrity.failed", resource_id=key.id)


def read_anew(site: Site, is_so: Callable[[], bool]) -> bool:
    """Whether it is so once the edited rows were read: on SQLite at the next question, on
    PostgreSQL, where a node keeps what it has read, after the length of a lease."""
    return is_so() if site.engine == "sqlite" else until(is_so, PATIENCE_SECONDS)


def assert_denied_alone(site: Site, home: Workspace, key: Issued, other: Issued) -> None:
    assert read_anew(site, lambda: home.verify(key.token)["code"] == "unknown")
    verdict = home.verify(key.token)
    assert (verdict["valid"], verdict["code"], verdict["key"]) == (False, "unknown", None)
    expect(key.api.get("/v1/self"), 401, "credential.invalid")
    assert home.verify(other.token)["valid"]
    expect(other.api.get("/v1/self"), 200)
    assert until(lambda: len(failures(home, key)) == 1, PATIENCE_SECONDS)
    for _ in range(3):
        home.verify(key.token)
    (entry,) = failures(home, key)
    assert (entry["actor_type"], entry["actor_user_id"]) == ("system", None)
    assert (entry["category"], entry["status"]) == ("security", "failed")
    assert (entry["resource_type"], entry["request_id"]) == ("api_key", None)
    assert failures(home, other) == []


EDITS = {
    "scopes": "UPDATE keys SET scopes = '[\"*\"]' WHERE id = :id",
    "permissions": "UPDATE keys SET permissions = '[\"admin\"]' WHERE id = :id",
    "networks": "UPDATE keys SET allowed_cidrs = '[]' WHERE id = :id",
    "expiry": "UPDATE keys SET expires_at = NULL WHERE id = :id",
    "start": "UPDATE keys SET not_before = 0 WHERE id = :id",
    "digest": "UPDATE keys SET digest = :blob WHERE id = :id",
    "peppers": "UPDATE keys SET peppers = '1+1' WHERE id = :id",
    "version": "UPDATE keys SET version = version + 1 WHERE id = :id",
    "name": "UPDATE keys SET name = 'other' WHERE id = :id",
    "environment": "UPDATE keys SET environment = 'dev' WHERE id = :id",
    "mac": "UPDATE keys SET mac = :blob WHERE id = :id",
    "nonsense": "UPDATE keys SET scopes = 'nonsense', metadata = '[' WHERE id = :id",
}


@pytest.mark.parametrize("statement", EDITS.values(), ids=EDITS)
def test_an_edited_key_is_denied_alone(
    site: Site, home: Workspace, run: Callable[..., int], statement: str
) -> None:
    key = home.admin.create(
        name="a-prod",
        scopes=["read"],
        permissions=["verify"],
        allowed_cidrs=["10.0.0.0/8", "127.0.0.0/8"],
        expires_at="2999-01-01T00:00:00Z",
    )
    other = home.admin.create(name="a-prod", scopes=["read"])
    assert home.verify(key.token, ip="10.0.0.1")["valid"]
    values = {"id": key.id, **({"blob": b"x" * 32} if ":blob" in statement else {})}
    assert run(statement, **values) == 1
    assert_denied_alone(site, home, key, other)


def test_a_revived_key_is_denied(site: Site, home: Workspace, run: Callable[..., int]) -> None:
    key, other = home.admin.create(), home.admin.create()
    expect(home.admin.delete(key.path), 204)
    statement = (
        "UPDATE keys SET status = 'active', revoked_at = NULL, revocation_reason = NULL"
        " WHERE id = :id"
    )
    assert run(statement, id=key.id) == 1
    assert_denied_alone(site, home, key, other)


def test_a_digest_of_another_key_fits_no_token(
    site: Site, home: Workspace, run: Callable[..., int]
) -> None:
    """The thief of the database gives a strong key the secret of a weak one that it holds."""
    strong, weak = home.holder("admin"), home.admin.create()
    swap = (
        "UPDATE keys SET digest = (SELECT digest FROM keys WHERE id = :weak),"
        " mac = (SELECT mac FROM keys WHERE id = :weak) WHERE id = :strong"
    )
    assert run(swap, strong=strong.id, weak=weak.id) == 1
    assert_denied_alone(site, home, strong, weak)


def test_a_key_moved_to_another_workspace_is_denied(
    home: Workspace, other: Workspace, run: Callable[..., int]
) -> None:
    key = home.admin.create()
    assert run("UPDATE keys SET workspace_id = :to WHERE id = :id", to=other.id, id=key.id) == 1
    for workspace in (home, other):
        assert workspace.verify(key.token)["code"] == "unknown"
    expect(key.api.get("/v1/self"), 401, "credential.invalid")


def test_a_key_that_was_planted_is_denied(home: Workspace, run: Callable[..., int]) -> None:
    key = home.admin.create()
    id_ = "01990000-0000-7000-8000-" + key.id[-12:]
    columns = (
        "workspace_id, service, environment, brand, name, scopes, permissions, allowed_cidrs,"
        " metadata, status, compromised, digest, peppers, created_at, created_by, not_before,"
        " expires_at, last_rotated_at, updated_at, revoked_at, revocation_reason, version, mac"
    )
    plant = f"INSERT INTO keys (id, {columns}) SELECT :planted, {columns} FROM keys WHERE id = :id"
    assert run(plant, planted=id_, id=key.id) == 1
    assert home.verify(key.token)["valid"]
    expect(home.admin.get("/v1/api-keys"), 200)
    response = home.admin.get(f"/v1/api-keys/{id_}")
    assert response.status_code in (404, 409)


def test_a_damaged_key_spoils_no_list_and_can_still_be_contained(
    home: Workspace, run: Callable[..., int]
) -> None:
    key, other = home.admin.create(), home.admin.create()
    run("UPDATE keys SET scopes = '[\"*\"]' WHERE id = :id", id=key.id)
    listed = expect(home.admin.get("/v1/api-keys"), 200)
    assert other.id in [one["id"] for one in listed]
    assert not [one for one in listed if one["id"] == key.id and one["scopes"] == ["*"]]
    for method, body in (("GET", None), ("PATCH", {"name": "x"})):
        response = home.admin.call(method, key.path, body)
        assert response.status_code in (404, 409)
    assert home.verify(key.token)["code"] == "unknown"
    expect(home.admin.delete(key.path), 204)
    verdict = home.verify(key.token)
    assert verdict["valid"] is False
    assert home.activity(action="api_key.revoked", resource_id=key.id)
    assert home.verify(other.token)["valid"]


def test_an_edited_workspace_lets_nobody_in(
    site: Site, home: Workspace, other: Workspace, run: Callable[..., int]
) -> None:
    key, stranger = home.admin.create(), other.admin.create()
    expect(site.operator.patch(f"/v1/workspaces/{home.id}", {"status": "suspended"}), 200)
    assert run("UPDATE workspaces SET status = 'active' WHERE id = :id", id=home.id) == 1
    assert site.gateway().verify(key.token)["valid"] is False
    expect(key.api.get("/v1/self"), 401, "credential.invalid")
    assert other.verify(stranger.token)["valid"]


def test_an_edited_operator_is_refused(
    site: Site, home: Workspace, run: Callable[..., int]
) -> None:
    """A gateway credential that somebody made an operator of."""
    token = site.server.installation.operator_token_of("edited", "--verify-only")
    gateway = site.operator.with_token(token)
    id_ = expect(gateway.get("/v1/self"), 200)["operator"]["id"]
    assert run("UPDATE operators SET kind = 'operator' WHERE id = :id", id=id_) == 1
    expect(gateway.get("/v1/workspaces"), 401, "credential.invalid")
    response = gateway.post("/v1/verify", {"api_key": home.admin.token})
    expect(response, 401, "credential.invalid")
    expect(site.operator.get("/v1/self"), 200)


def test_a_damaged_slot_costs_no_verdict(home: Workspace, run: Callable[..., int]) -> None:
    key = home.admin.create(name="a-prod", owner="ops")
    statement = "UPDATE slots SET owner = 'thief' WHERE workspace_id = :id AND service = 'a'"
    assert run(statement, id=home.id) == 1
    verdict = home.verify(key.token)
    assert "thief" not in json.dumps(verdict)
    assert home.admin.get("/v1/slots/a-prod").status_code in (404, 409)
    assert "thief" not in home.admin.get(key.path).text
    expect(home.admin.get("/v1/api-keys"), 200)
    assert home.admin.put("/v1/slots/a-prod", {"owner": "ops"}).status_code in (200, 201)
    assert home.key(key)["owner"] == "ops"
