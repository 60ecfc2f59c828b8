"""What somebody writes into the tables past Keyturn denies that key, its workspace's, or nobody; no
node falls, none loses its lease, and every other key goes on."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from tests.acceptance.servers import until
from tests.nodes.conftest import FRESHNESS_SECONDS
from tests.nodes.nodes import Group, Json, Node, propagation_of

LONG = "x" * 1_000_000
TEXTS = (None, "", " ", LONG, "unknown-word", "[[[[{", "null", "\u202e\u0301")
NUMBERS = (None, 0, -1, 2**63 - 1, -(2**63))
BYTES = (None, b"", b"\x00" * 1_000_000)
SLACK_SECONDS = 10.0

Poison = tuple[str, object]  # a column and what is written there


@dataclass
class Ward:
    """Nodes that are well as long as `steady` is let in by all of them."""

    group: Group
    nodes: list[Node]
    database: "psycopg.Connection[Any]"
    steady: Json = field(repr=False)

    def codes(self, token: str, caller: str | None = None) -> set[str]:
        return {node.verify(caller or self.group.operator, token) for node in self.nodes}

    def are_well(self) -> bool:
        return self.codes(self.steady["api_key"]) == {"valid"}

    def columns(self, table: str) -> list[tuple[str, tuple[object, ...]]]:
        rows = self.database.execute(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_name = %s AND table_schema = 'public' ORDER BY ordinal_position",
            [table],
        ).fetchall()
        kinds: dict[str, tuple[object, ...]] = {
            "text": TEXTS,
            "bigint": NUMBERS,
            "integer": (None, 0, -1, 2**31 - 1),
        }
        kinds |= {"bytea": BYTES, "boolean": (None,)}
        return [(name, kinds.get(kind, TEXTS)) for name, kind in rows]

    def let_anything_in(self, *tables: str) -> None:
        """Whoever writes there past us is not held up by constraints either."""
        for table in tables:
            self.database.execute(
                f"DO $$ DECLARE one record; BEGIN FOR one IN SELECT conname FROM pg_constraint"
                f" WHERE conrelid = '{table}'::regclass OR confrelid = '{table}'::regclass"
                f" LOOP EXECUTE (SELECT format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE',"
                f" conrelid::regclass, conname) FROM pg_constraint WHERE conname = one.conname"
                f" LIMIT 1); END LOOP; END $$".encode()
            )
            for name, _ in self.columns(table):
                drop = f'ALTER TABLE {table} ALTER COLUMN "{name}" DROP NOT NULL'
                self.database.execute(drop.encode())

    def write(self, table: str, column: str, value: object, where: str, id_: str) -> bool:
        """Whether that was something else than before."""
        statement = (
            f'UPDATE {table} SET "{column}" = %(value)s WHERE {where} = %(id)s'
            f' AND "{column}" IS DISTINCT FROM %(value)s'
        )
        if isinstance(value, str):
            statement = statement.replace("%(value)s", "%(value)s::text")
        try:
            cursor = self.database.execute(statement.encode(), {"value": value, "id": id_})
        except psycopg.errors.DataError:
            return False
        except psycopg.errors.ProgramLimitExceeded:  # too long for an index
            return False
        return cursor.rowcount == 1


@pytest.fixture
def ward(group: Group) -> Any:
    nodes = [group.start() for _ in range(2)]
    url = nodes[0].installation.database_url
    with psycopg.connect(url, autocommit=True) as database:
        yield Ward(group, nodes, database, group.key(nodes[0]))


def poison(
    ward: Ward, table: str, where: str, make: Callable[[str], tuple[str, Callable[[], set[str]]]]
) -> list[str]:
    """Writes each poison into each column, of one record a column; what went wrong, in words.
    `make` gives the record's id, and how its key fares."""
    faults = []
    for column, values in ward.columns(table):
        id_, fares = make(column)
        found = ward.database.execute(
            f'SELECT "{column}" FROM {table} WHERE {where} = %s'.encode(), [id_]
        ).fetchone()
        for value in values:
            if found == (value,):  # it would be as it was
                continue
            if not ward.write(table, column, value, where, id_):
                continue
            told = f"{table}.{column} = {str(value)[:20]!r}"
            codes = fares()
            if "valid" in codes:
                faults.append(f"{told}: {codes}")
            if not ward.are_well():
                faults.append(f"{told}: other keys are not let in")
            if column == where:
                break  # it is not found by its id any more
    return faults


def test_poison_in_a_key_denies_that_key_alone(ward: Ward) -> None:
    ward.let_anything_in("keys")

    def make(_: str) -> tuple[str, Callable[[], set[str]]]:
        key = ward.group.key(ward.nodes[0])
        return key["id"], lambda: ward.codes(key["api_key"])

    assert poison(ward, "keys", "id", make) == []


def test_poison_in_a_workspace_denies_its_keys_alone(ward: Ward) -> None:
    ward.let_anything_in("workspaces")

    def make(column: str) -> tuple[str, Callable[[], set[str]]]:
        made = ward.nodes[0].call(
            "POST", "/v1/workspaces", ward.group.operator, {"name": f"w-{column}"[:40]}
        )
        assert made.status_code == 201, made.text
        return made.json()["id"], lambda: ward.codes(made.json()["api_key"])

    assert poison(ward, "workspaces", "id", make) == []


def test_poison_in_an_operator_denies_that_operator_alone(ward: Ward) -> None:
    ward.let_anything_in("operators")
    columns = [name for name, _ in ward.columns("operators")]

    def make(column: str) -> tuple[str, Callable[[], set[str]]]:
        name = f"operator{columns.index(column)}"
        token = ward.nodes[0].installation.operator_token_of(name)
        row = ward.database.execute("SELECT id FROM operators WHERE name = %s", [name]).fetchone()
        assert row is not None

        def fares() -> set[str]:
            asked = {"api_key": ward.steady["api_key"]}
            answers = [node.call("POST", "/v1/verify", token, asked) for node in ward.nodes]
            return {"valid" if one.status_code == 200 else str(one.status_code) for one in answers}

        return row[0], fares

    assert poison(ward, "operators", "id", make) == []


def test_poison_in_the_log_of_what_is_past_ends_no_lease(ward: Ward) -> None:
    ward.let_anything_in("changes")
    before = {node.name: node.server.id for node in ward.nodes}
    for column, values in ward.columns("changes"):
        for value in values:
            made = ward.group.key(ward.nodes[0])
            row = ward.database.execute("SELECT max(position) FROM changes").fetchone()
            assert row is not None
            ward.group.key(ward.nodes[0])  # so that it is not the last one
            time.sleep(0.05)  # nor the one that a node has come to
            if column == "position" and value is not None and int(str(value)) > 0:
                continue  # that would be the end of the log, set by hand
            ward.write("changes", column, value, "position", row[0])
            ward.codes(made["api_key"])
            assert ward.are_well(), f"{column} = {str(value)[:20]!r}"
    assert {node.name: node.server.id for node in ward.nodes} == before


def test_a_key_that_is_revoked_by_hand_is_noticed_once_records_are_old(ward: Ward) -> None:
    key = ward.group.key(ward.nodes[0])
    assert ward.codes(key["api_key"]) == {"valid"}
    ward.let_anything_in("keys")
    assert ward.write("keys", "status", "revoked", "id", key["id"])
    patience = FRESHNESS_SECONDS + SLACK_SECONDS
    assert until(lambda: "valid" not in ward.codes(key["api_key"]), patience)
    assert ward.are_well()
    # By a change, it is noticed at once.
    told = propagation_of(
        ward.nodes[0].call("DELETE", f"/v1/api-keys/{ward.steady['id']}", ward.group.operator)
    )
    assert told["state"] == "complete"
    assert ward.codes(ward.steady["api_key"]) == {"revoked"}
