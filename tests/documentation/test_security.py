"""SECURITY.md says of every table how it is protected, and the code keeps to it."""

import re
from pathlib import Path

from keyturn.storage.records import SEALED
from keyturn.storage.schema import activity, installation, metadata
from keyturn.storage.sealed import MAC

ROWS = re.compile(r"^\| `(\w+)` \| ([^|]+?) \|", re.MULTILINE)
STATED = dict(ROWS.findall(Path("SECURITY.md").read_text("utf-8")))


def test_every_table_is_in_the_list() -> None:
    assert set(STATED) == set(metadata.tables)


def test_exactly_the_tables_that_are_said_to_be_sealed_have_a_seal() -> None:
    sealed = {name for name, table in metadata.tables.items() if MAC in table.columns}
    assert sealed == {name for name, how in STATED.items() if how == "sealed"}
    assert {table.table.name for table in SEALED.values()} <= sealed


def test_the_activity_is_chained_and_the_installation_has_fingerprints() -> None:
    assert STATED[activity.name] == "chained"
    assert {"hash", "content_hash"} <= set(activity.columns.keys())
    assert STATED[installation.name] == "checked at start"
    assert {"root_fingerprint", "pepper_fingerprints"} <= set(installation.columns.keys())
