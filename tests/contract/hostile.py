"""What a hostile hand may leave in a cell, and how it gets it there."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.houses import House, Raw


@dataclass(frozen=True, slots=True)
class Hostile:
    """A value, and the SQL that makes a cell of it."""

    name: str
    value: object
    sql: str = ":hostile"


HOSTILE = (
    Hostile("nothing", None),
    Hostile("empty text", ""),
    Hostile("other text", "other"),
    Hostile("a word of another column", "active"),
    Hostile("another word", "revoked"),
    Hostile("another id", "01900000-0000-7000-8000-000000000000"),
    Hostile("a megabyte of text", "x" * 1_000_000),
    Hostile("a text that ends early", "active\x00"),
    Hostile("JSON that does not end", '{"a": ['),
    Hostile("JSON of another shape", '{"a": 1}'),
    Hostile("deep JSON", "[" * 100_000),
    Hostile("a number without end in JSON", "9" * 10_000),
    Hostile("zero", 0),
    Hostile("one", 1),
    Hostile("a negative number", -1),
    Hostile("the largest number", 2**63 - 1),
    Hostile("the smallest number", -(2**63)),
    Hostile("a fraction", 1.5),
    Hostile("infinity", float("inf")),
    Hostile("no bytes", b""),
    Hostile("other bytes", bytes(33)),
    Hostile("a megabyte of bytes", b"x" * 1_000_000),
    Hostile("bytes that are text", b"active"),
    Hostile("text that is not UTF-8", b"\xff\xfe", "CAST(:hostile AS TEXT)"),
    Hostile("text of half a pair", b"\xed\xa0\x80", "CAST(:hostile AS TEXT)"),
)


def loosen(house: House, table: str) -> None:
    """Takes off what the schema itself forbids: NOT NULL, and every CHECK (SQLite: see `Raw`)."""
    if house.engine == "sqlite":
        with house.raw() as raw:
            [(version,)] = raw.run("PRAGMA schema_version")
            raw.run("PRAGMA writable_schema=ON")
            raw.run(
                "UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL,', ',')"
                " WHERE type = 'table' AND name = :name",
                name=table,
            )
            raw.run(f"PRAGMA schema_version={version + 1}")
        return
    with house.raw() as raw:
        for (name,) in raw.run(
            "SELECT conname FROM pg_constraint WHERE conrelid = CAST(:name AS regclass)"
            " AND contype = 'c'",
            name=table,
        ):
            raw.run(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        keyed = {name for (name,) in raw.run(_KEYED, name=table)}
        for column in columns(house, table):
            if column not in keyed:
                raw.run(f"ALTER TABLE {table} ALTER {column} DROP NOT NULL")


_KEYED = (
    "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
    " AND a.attnum = ANY(i.indkey) WHERE i.indisprimary AND i.indrelid = CAST(:name AS regclass)"
)


def columns(house: House, table: str) -> list[str]:
    if house.engine == "sqlite":
        return [row[1] for row in house.run(f"PRAGMA table_info({table})")]
    return [
        row[0]
        for row in house.run(
            "SELECT column_name FROM information_schema.columns WHERE table_name = :name"
            " ORDER BY ordinal_position",
            name=table,
        )
    ]


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `key` finds it, and the columns of `marks` do where its key was edited."""

    table: str
    key: dict[str, object]
    marks: tuple[str, ...] = ("mac",)

    def read(self, raw: Raw) -> dict[str, Any] | None:
        """The row's cells by column, None where nothing stands here."""
        found = raw.rows(
            f"SELECT * FROM {self.table} WHERE {_matches(self.key, 'key')}",
            **_named(self.key, "key"),
        )
        return found[0] if found else None

    def genuine(self, raw: Raw) -> dict[str, Any]:
        cells = self.read(raw)
        assert cells is not None
        return cells

    def delete(self, raw: Raw) -> None:
        raw.run(
            f"DELETE FROM {self.table} WHERE {_matches(self.key, 'key')}", **_named(self.key, "key")
        )

    def restore(self, raw: Raw, cells: dict[str, Any]) -> None:
        """Leaves `cells` here and nowhere else."""
        marks = {name: cells[name] for name in self.marks}
        raw.run(
            f"DELETE FROM {self.table} WHERE {_matches(marks, 'mark')}", **_named(marks, "mark")
        )
        self.delete(raw)
        write(raw, self.table, cells)

    def edit(self, raw: Raw, **cells: object) -> None:
        changed = ", ".join(f"{name} = :{name}" for name in cells)
        raw.run(
            f"UPDATE {self.table} SET {changed} WHERE {_matches(self.key, 'key')}",
            **cells,
            **_named(self.key, "key"),
        )


def write(raw: Raw, table: str, cells: dict[str, Any]) -> None:
    names = ", ".join(cells)
    values = ", ".join(f":{name}" for name in cells)
    raw.run(f"INSERT INTO {table} ({names}) VALUES ({values})", **cells)


def edits(house: House, raw: Raw, row: Row) -> Iterator[tuple[str, Hostile]]:
    """Makes one edit after another in `row`, and yields which while it stands.

    What the engine refuses to keep, or keeps as what was there before, is no edit. Each begins from
    the genuine row, and the last one leaves it.
    """
    genuine = row.genuine(raw)
    for column in columns(house, row.table):
        for hostile in HOSTILE:
            try:
                raw.run(
                    f"UPDATE {row.table} SET {column} = {hostile.sql}"
                    f" WHERE {_matches(row.key, 'key')}",
                    hostile=hostile.value,
                    **_named(row.key, "key"),
                )
            except (sqlite3.Error, psycopg.Error):
                continue
            now = row.read(raw)
            if now is None or _differs(now[column], genuine[column]):
                yield column, hostile
            row.restore(raw, genuine)


def _differs(one: object, other: object) -> bool:
    return type(one) is not type(other) or one != other


def _matches(cells: dict[str, object], prefix: str) -> str:
    return " AND ".join(f"{name} = :{prefix}_{name}" for name in cells)


def _named(cells: dict[str, object], prefix: str) -> dict[str, object]:
    return {f"{prefix}_{name}": value for name, value in cells.items()}
