"""A database of an earlier revision is brought to this one, and a backup of it restored into it:
no row is sealed anew, and all of it stands as it was."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import Connection, Table, inspect, text

from keyturn.domain.error import InstallationFault
from keyturn.domain.slot import SlotName, SlotNotes
from keyturn.domain.token import Token
from keyturn.domain.traffic import HOUR, MOST_VALUES, Caller, Facet, TrafficRow
from keyturn.domain.verdict import VerdictCode
from keyturn.services.define import define_slot
from keyturn.services.restore import Choice, Order, restore, weigh
from keyturn.storage.archive import ArchiveReader, ArchiveWriter, Manifest, Section, Stamp
from keyturn.storage.migrate import migrate, migrate_within, newest_revision, present_revision
from keyturn.storage.schema import metadata, uses
from keyturn.storage.session import Session
from keyturn.storage.tables import BareDatabase
from keyturn.testing.storage import making
from tests.houses import NOTARY, ROOT_FINGERPRINT, SEALER, Ground, House, Plots

FIRST = "0001"
STAMP = Stamp(b"key of backups".ljust(32, b"."))


@pytest.fixture
def empty_ground(engine: str, plots: Plots) -> Iterator[Ground]:
    ground = plots.empty(engine)
    yield ground
    plots.clear(ground)


def furnish(house: House) -> Token:
    """A key that was used, and a slot."""
    token = house.issue(slot="mine-prod", scopes=("read",)).token
    name = SlotName(service="mine", environment="prod")
    define_slot(house.context, house.act(), house.workspace_id, name, SlotNotes(owner="ada"))
    for first, code in enumerate(("valid", "valid", "revoked")):
        used = making.request(
            100 + first, key_id=token.id, workspace_id=house.workspace_id, code=code
        )
        making.record(house.store, used, first=1 + first)
    return token


def first_rows(house: House) -> dict[str, list[dict[str, object]]]:
    """What the house has, as the first revision kept it: without what came later."""
    late = {
        *("uses", "rotations", "findings", "heartbeat", "destinations", "deliveries"),
        *("channels", "messages", "announced", "traffic", "incidents", "incident_keys"),
        *("posture_waivers", "nodes"),
    }
    rows = {
        name: house_rows(house, table)
        for name, table in metadata.tables.items()
        if name not in late
    }
    for row in rows["workspaces"]:
        assert row.pop("policy") is row.pop("resumed_at") is row.pop("reveal") is None
        assert row.pop("grace_seconds") is row.pop("grace_before") is None
        assert row.pop("grace_lowered_at") is None
    for row in rows["slots"]:
        assert row.pop("destinations") is None
    for row in rows["requests"]:
        assert row.pop("named_network") is row.pop("country") is row.pop("browser") is None
    kept = ("key_id", "runtime", "declared", "first_seen_at", "last_seen_at", "allowed", "denied")
    rows["runtimes"] = [{name: row[name] for name in kept} for row in house_rows(house, uses)]
    return rows


def house_rows(house: House, table: Table) -> list[dict[str, object]]:
    with house.raw() as raw:
        return raw.rows(f"SELECT * FROM {table.name}")


def fill(connection: Connection, rows: dict[str, list[dict[str, object]]]) -> None:
    for name, found in rows.items():
        for row in found:
            values = ", ".join(f":{column}" for column in row)
            connection.execute(
                text(f"INSERT INTO {name} ({', '.join(row)}) VALUES ({values})"), row
            )


def at_first_revision(ground: Ground, rows: dict[str, list[dict[str, object]]]) -> None:
    administration = ground.administration()
    with administration.begin() as connection:
        migrate_within(connection, FIRST)
        fill(connection, rows)
    assert present_revision(administration) == FIRST
    administration.dispose()


def assert_as_it_was(house: House, ground: Ground, token: Token) -> None:
    moved = House(ground, house.installed)
    moved.clock = house.clock
    moved.context = replace(moved.context, clock=house.clock)
    try:
        assert moved.attest([house.signed_head()]).is_sound
        assert moved.verdict(token) is VerdictCode.VALID
        view = moved.view(token.id)
        assert view.slot is not None
        assert (view.slot.notes.owner, view.last_used_at) == ("ada", 101)
        with moved.store.read() as reading:
            [hour] = reading.traffic.of_keys([token.id], 0, 10_000)
            [use] = reading.uses.of([token.id])
            [told] = reading.usage.runtimes(token.id, since=0, until=10_000)
            found = reading.workspaces.find(house.workspace_id)
        assert found is not None
        assert found.policy is None
        assert hour.caller == Caller("worker", True, None)
        assert (hour.allowed, hour.denied, hour.first_at, hour.last_at) == (2, 1, 100, 102)
        assert (use.environment, use.place, use.allowed, use.denied) == (None, None, 2, 1)
        assert (told.first_seen_at, told.last_seen_at, told.allowed) == (100, 101, 2)
        # And it goes on: the next use, the next change.
        used = making.request(500, key_id=token.id, workspace_id=house.workspace_id)
        making.record(moved.store, used, first=100)
        making.add_rotations(
            moved.store, making.rotation(1, workspace_id=house.workspace_id, slot="mine-prod")
        )
        assert moved.attest().is_sound
        assert moved.damage == []
    finally:
        moved.close()


def test_a_database_of_the_first_revision_is_brought_to_this_one_with_all_that_is_in_it(
    house: House, empty_ground: Ground
) -> None:
    token = furnish(house)
    at_first_revision(empty_ground, first_rows(house))
    administration = empty_ground.administration()
    migrate(administration)
    assert present_revision(administration) == newest_revision()
    assert "runtimes" not in inspect(administration).get_table_names()
    administration.dispose()
    assert_as_it_was(house, empty_ground, token)


def test_traffic_is_counted_from_the_requests_that_there_are(
    house: House, empty_ground: Ground
) -> None:
    """As it would have been with each, even where a hostile hand left what is none of ours."""
    made = [
        making.request(
            HOUR * (n % 3) + n,
            key_id=making.id_of(1 + n % 2),
            workspace_id=house.workspace_id,
            ip=f"10.0.{n % 7}.1",
            method="GET",
            path=f"/{n}",
            user_agent="curl/8",
            scopes=("read", "write"),
            code=("valid", "revoked")[n % 5 == 0],
        )
        for n in range(1_000)
    ]
    making.record(house.store, *made)
    rows = first_rows(house)
    if house.engine == "sqlite":
        spoilt = [dict(row) for row in rows["requests"][:6]]
        for number, row in enumerate(spoilt):
            row["id"] = str(making.id_of(5_000 + number))
        spoilt[0]["at"] = "noon"
        spoilt[1]["at"] = -5
        spoilt[2]["scopes"] = "{"
        spoilt[2]["key_id"] = str(making.id_of(9))
        spoilt[3]["runtime"] = b"bytes"
        spoilt[4]["declared"] = "yes"
        spoilt[5]["valid"] = "maybe"
        spoilt[5]["key_id"] = str(making.id_of(9))
        rows["requests"] += spoilt
    at_first_revision(empty_ground, rows)
    administration = empty_ground.administration()
    migrate(administration)
    administration.dispose()
    keys = [making.id_of(1), making.id_of(2)]
    with house.store.read() as reading:
        wanted = reading.traffic.of_keys(keys, 0, 10 * HOUR)
    moved = empty_ground.open(house.damage.append)
    with moved.read() as reading:
        found = reading.traffic.of_keys(keys, 0, 10 * HOUR)
    moved.close()

    def tell(rows: Sequence[TrafficRow]) -> dict[object, int]:
        return {(row.key_id, row.hour, row.facet): 0 for row in rows} | {
            (row.key_id, row.hour, row.facet, row.value): row.requests
            for row in rows
            # Which of too many values stand for themselves is as it came.
            if row.facet is not Facet.PATH
        }

    assert tell(found) == tell(wanted)
    for facet in Facet:
        total = sum(row.requests for row in wanted if row.facet is facet)
        assert sum(row.requests for row in found if row.facet is facet) == total
    assert max(Counter((r.key_id, r.hour, r.facet) for r in found).values()) <= MOST_VALUES + 1


def backup_of(house: House, rows: dict[str, list[dict[str, object]]]) -> bytes:
    """A backup as the first revision wrote it."""
    with house.store.read() as reading:
        head, installation = reading.head(), reading.installation.find()
    assert installation is not None
    manifest = Manifest(
        keyturn="0.0.1",
        engine=house.engine,
        revision=FIRST,
        made_at=house.clock.now(),
        installation_id=str(installation.installation_id),
        brand=installation.brand,
        root_fingerprint=ROOT_FINGERPRINT,
        pepper_fingerprints={},
        left_out=(),
        position=head.position,
        activity_number=head.activity_number,
        activity_hash=head.activity_hash.hex(),
    )
    file = io.BytesIO()
    writer = ArchiveWriter(file, manifest)
    for name in sorted(rows):
        columns = tuple(rows[name][0]) if rows[name] else FIRST_COLUMNS[name]
        writer.begin(Section(name, columns))
        for row in rows[name]:
            assert writer.row(tuple(row.values()))  # type: ignore[arg-type]
    writer.finish((), 10, STAMP)
    return file.getvalue()


FIRST_COLUMNS = {"idempotency": tuple(metadata.tables["idempotency"].columns.keys())}


def test_a_backup_of_the_first_revision_is_restored_into_this_one(
    house: House, empty_ground: Ground
) -> None:
    token = furnish(house)
    backup = backup_of(house, first_rows(house))
    store = empty_ground.open(house.damage.append)
    order = Order(
        weighed=weigh(ArchiveReader(io.BytesIO(backup), "backup"), {}),
        choice=Choice.ACCEPT,
        heads_kept_as=None,
        require_fitting=lambda _: None,
        require_sole=lambda: None,
    )
    restored = restore(
        replace(house.context, store=store),
        NOTARY,
        ArchiveReader(io.BytesIO(backup), "backup"),
        order,
    )
    store.close()
    assert (restored.carried.mended, restored.carried.left_out) == (0, 0)
    assert restored.attestation is not None
    assert restored.attestation.is_sound
    assert_as_it_was(house, empty_ground, token)


def test_a_table_that_this_version_knows_no_more_must_be_empty_too(empty_ground: Ground) -> None:
    at_first_revision(
        empty_ground,
        {
            "runtimes": [
                {
                    "key_id": str(UUID(int=1)),
                    "runtime": "worker",
                    "declared": 1,
                    "allowed": 1,
                    "denied": 0,
                }
            ]
        },
    )
    administration = empty_ground.administration()
    with (
        administration.begin() as connection,
        pytest.raises(InstallationFault, match="not empty"),
    ):
        BareDatabase(Session(connection, SEALER)).prepare(FIRST)
    administration.dispose()
