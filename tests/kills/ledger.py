"""What a database says, read behind Keyturn's back, and whether it agrees with itself.

A change is whole when its row, its place in the change log, its entry in the activity log and the
head all tell of it. `Ledger.faults` names each disagreement; `moved` says how one state of the
database differs from another, table by table, so that a part of a change cannot hide.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
Ask = Callable[..., list[tuple[Any, ...]]]

IDENTITIES = {
    "installation": ("id",),
    "workspaces": ("id",),
    "operators": ("id",),
    "slots": ("workspace_id", "service", "environment"),
    "keys": ("id",),
    "rotations": ("id",),
    "destinations": ("id",),
    "deliveries": ("id",),
    "findings": ("id",),
    "incidents": ("id",),
    "incident_keys": ("incident_id", "key_id"),
    "changes": ("position",),
    "activity": ("number",),
    "change_head": ("id",),
    "idempotency": ("caller_id", "workspace_id", "route", "idempotency_key"),
}
_CHANGE = ("position", "kind", "ref", "version", "workspace_id", "at")
_ENTRY = (
    "number",
    "action",
    "resource_type",
    "resource_id",
    "resource_version",
    "workspace_id",
    "status",
    "request_id",
    "position",
)
_COLUMNS = {
    "installation": ("id", "installation_id", "root_fingerprint"),
    "workspaces": ("id", "name", "status", "networks", "updated_at", "version"),
    "operators": ("id", "name", "revoked_at", "updated_at", "version"),
    "slots": ("workspace_id", "service", "environment", "owner", "updated_at", "version"),
    "keys": ("id", "workspace_id", "name", "scopes", "status", "updated_at", "version"),
    "rotations": ("id", "workspace_id", "service", "state", "lifts", "updated_at", "version"),
    "destinations": ("id", "workspace_id", "name", "state", "updated_at", "version"),
    "deliveries": ("id", "workspace_id", "service", "key_id", "state"),
    "findings": ("id", "workspace_id", "kind", "subject_id", "state", "version"),
    "incidents": ("id", "workspace_id", "state", "keys_hash", "updated_at", "version"),
    "incident_keys": ("incident_id", "key_id", "replacement_key_id", "waiver", "version"),
    "changes": _CHANGE,
    "activity": _ENTRY,
    "change_head": ("id", "position", "activity_number"),
    "idempotency": (*IDENTITIES["idempotency"], "status", "created_at"),
}
_TYPES = {
    "key": "api_key",
    "slot": "slot",
    "workspace": "workspace",
    "operator": "operator",
    "rotation": "rotation",
    "destination": "destination",
    "finding": "finding",
    "incident": "incident",
    "probe": "probe",
}
# Each count of uses beside the requests that it counts. Calls that verify are counted and listed
# under their subject alone.
_MISCOUNTED = """
    SELECT u.key_id FROM key_usage u WHERE
        u.allowed < (SELECT count(*) FROM requests r WHERE r.key_id = u.key_id AND r.valid = 1)
        OR u.denied <> (SELECT count(*) FROM requests r WHERE r.key_id = u.key_id AND r.valid = 0)
        OR u.allowed <> (SELECT sum(t.allowed) FROM uses t WHERE t.key_id = u.key_id)
        OR u.denied <> (SELECT sum(t.denied) FROM uses t WHERE t.key_id = u.key_id)
"""
_UNCOUNTED = """
    SELECT r.key_id FROM requests r WHERE r.key_id IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM key_usage u WHERE u.key_id = r.key_id)
"""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The tables at one moment: rows by identity. `miscounted` are keys whose uses are."""

    tables: dict[str, dict[tuple[Any, ...], Row]]
    miscounted: tuple[str, ...] = ()

    def rows(self, table: str) -> list[Row]:
        return list(self.tables[table].values())

    def entries(self, kind: str) -> dict[str, list[Row]]:
        """The successful entries about objects of a kind, by object, oldest first."""
        found: dict[str, list[Row]] = defaultdict(list)
        for entry in self.rows("activity"):
            if entry["resource_type"] == kind and entry["status"] == "success":
                found[entry["resource_id"]].append(entry)
        return found

    def faults(self) -> list[str]:
        return [
            *self._of_numbers(),
            *self._of_changes(),
            *self._of_objects(),
            *(f"the uses of key {key_id} are miscounted" for key_id in self.miscounted),
        ]

    def _of_numbers(self) -> list[str]:
        """Positions and entries are counted from 1 without gaps, and the head names the last."""
        if not self.tables["change_head"]:
            begun = [table for table, rows in self.tables.items() if rows]
            return [f"{table} has rows without a head" for table in begun]
        (head,) = self.rows("change_head")
        found = []
        for table, column, last in (
            ("changes", "position", head["position"]),
            ("activity", "number", head["activity_number"]),
        ):
            numbers = [row[column] for row in self.rows(table)]
            if numbers != list(range(1, last + 1)):
                found.append(f"{table}: {len(numbers)} rows, the head says {last}")
        return found

    def _of_changes(self) -> list[str]:
        """Each change has one entry, of its object and version, and each such entry its change."""
        entries = [row for row in self.rows("activity") if row["position"] is not None]
        # One that has outlived its retention tells no more; the chain holds its place.
        blank = {row["position"] for row in entries if row["action"] is None}
        told = Counter(
            (row["position"], row["resource_type"], row["resource_version"])
            for row in entries
            if row["position"] not in blank
        )
        made = Counter(
            (row["position"], _TYPES[row["kind"]], row["version"])
            for row in self.rows("changes")
            if row["position"] not in blank
        )
        return [f"change and entry differ: {one}" for one in (told - made) + (made - told)]

    def _of_objects(self) -> list[str]:
        """Each object's versions are 1, 2 and so on, and its row is in the last of them."""
        versions: dict[tuple[str, str], list[int]] = defaultdict(list)
        for row in self.rows("changes"):
            versions[row["kind"], row["ref"]].append(row["version"])
        present = {
            (kind, _ref(kind, row)): row["version"]
            for kind in _TYPES
            if kind != "probe"  # a change that changes nothing
            for row in self.rows(f"{kind}s")
        }
        found = []
        for identity in versions.keys() | present.keys():
            if identity[0] == "probe":
                continue
            logged, version = versions.get(identity, []), present.get(identity, 0)
            if version == 0 or logged != list(range(1, version + 1)):
                found.append(f"{' '.join(identity)}: row in version {version}, logged {logged}")
        return found


def _ref(kind: str, row: Row) -> str:
    if kind == "slot":
        return f"{row['workspace_id']}/{row['service']}-{row['environment']}"
    return str(row["id"])


def read_ledger(ask: Ask) -> Ledger:
    """The ledger as it stands, from a database at rest."""
    tables = {}
    for table, columns in _COLUMNS.items():
        width = len(IDENTITIES[table])
        order = ", ".join(IDENTITIES[table])
        rows = ask(f"SELECT {order}, {', '.join(columns)} FROM {table} ORDER BY {order}")
        tables[table] = {
            tuple(row[:width]): dict(zip(columns, row[width:], strict=True)) for row in rows
        }
    miscounted = {str(row[0]) for query in (_MISCOUNTED, _UNCOUNTED) for row in ask(query)}
    return Ledger(tables, tuple(sorted(miscounted)))


def moved(before: Ledger, after: Ledger) -> Counter[str]:
    """How many rows were added (`+keys`), taken away (`-keys`) and changed (`~keys`). What was
    found meanwhile is left out, with its changes and entries, and so is how incidents that were
    open have come on: that comes when it comes."""
    found: Counter[str] = Counter()
    for table in IDENTITIES.keys() - {"findings", "change_head"}:
        old, new = _unfound(before, table), _unfound(after, table)
        found[f"+{table}"] += len(new.keys() - old.keys())
        found[f"-{table}"] += len(old.keys() - new.keys())
        found[f"~{table}"] += sum(old[one] != new[one] for one in old.keys() & new.keys())
    found.pop("~incidents", None)
    is_found = any(before.tables[one] != after.tables[one] for one in ("findings", "incidents"))
    # An entry may tell of a finding or an incident that stays as it is: a reminder does.
    entries = after.tables["activity"]
    is_found |= any(
        _is_by_itself(entries[one]) for one in entries.keys() - before.tables["activity"].keys()
    )
    if found["+changes"] or found["+activity"] or not is_found:
        found["~change_head"] += before.rows("change_head") != after.rows("change_head")
    return +found


def _unfound(ledger: Ledger, table: str) -> dict[tuple[Any, ...], Row]:
    return {
        identity: row for identity, row in ledger.tables[table].items() if not _is_by_itself(row)
    }


def _is_by_itself(row: Row) -> bool:
    told = (row.get("kind"), row.get("resource_type"))
    version = row.get("version", row.get("resource_version"))
    return "finding" in told or ("incident" in told and version != 1)
