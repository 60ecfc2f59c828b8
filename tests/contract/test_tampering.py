"""A row that was changed from outside is denied alone, reported, and harms nobody else."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypedDict
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Engine, event

from keyturn.domain.channel import Channel
from keyturn.domain.destination import Destination
from keyturn.domain.error import CredentialInvalid, IntegrityFailed, KeyturnError, KeyUnknown
from keyturn.domain.finding import Finding
from keyturn.domain.incident import Containment, Incident
from keyturn.domain.instant import LATEST
from keyturn.domain.key import KeyState, KeyStatus, RevocationReason
from keyturn.domain.operator import OperatorKind
from keyturn.domain.posture.waiver import PostureWaiver
from keyturn.domain.request import Request
from keyturn.domain.rotation import Rotation
from keyturn.domain.runtime import Runtime
from keyturn.domain.seal import Sealer
from keyturn.domain.slot import SlotName, SlotNotes
from keyturn.domain.token import SECRET_BYTES, Token, make_token
from keyturn.domain.verdict import VerdictCode
from keyturn.domain.workspace import Workspace, WorkspaceStatus
from keyturn.services.amend import KeyAmendment, amend_key
from keyturn.services.appoint import appoint_operator, dismiss_operator
from keyturn.services.define import define_slot
from keyturn.services.locate import locate_key
from keyturn.services.meter import Meter
from keyturn.services.provision import WorkspaceAmendment, amend_workspace
from keyturn.services.replace import replace_keys
from keyturn.services.respond import Exposure, open_incident
from keyturn.services.revoke import resume_key, revoke_key, suspend_key
from keyturn.services.scrub import Scrub
from keyturn.services.select import Named
from keyturn.services.watch import DamageWatch
from keyturn.storage.contract import KeyCredential, Reference
from keyturn.storage.findings import FindingFilter
from keyturn.storage.incidents import IncidentFilter
from keyturn.storage.keys import KeyFilter
from keyturn.storage.records import SEALED as SEALED_TABLES
from keyturn.storage.requests import RequestFilter
from keyturn.storage.rotations import RotationFilter
from keyturn.storage.schema import metadata
from keyturn.storage.sealed import Damage
from keyturn.storage.transaction import Reading
from keyturn.testing.storage import making
from tests.contract.hostile import Row, columns, edits, loosen, write
from tests.houses import BRAND, SEALER, House, Raw

SEALED = (
    *("keys", "workspaces", "operators", "slots", "rotations", "destinations", "findings"),
    *("incidents", "incident_keys", "channels", "posture_waivers"),
)


@dataclass(frozen=True, slots=True)
class Street:
    """Two workspaces with keys, two operators: what is edited, and what must not feel it."""

    house: House
    home: UUID  # the workspace of `mine` and `neighbour`
    abroad: UUID  # the workspace of `stranger`
    mine: Token
    neighbour: Token
    stranger: Token
    first: Token
    second: Token  # the operators
    rotation: Rotation  # of `mine` by `neighbour`, as far as the records say
    finding: Finding
    incident: Incident
    beside: Incident
    destination: Destination
    channel: Channel
    waiver: PostureWaiver

    @property
    def tokens(self) -> dict[str, Token]:
        return {
            name: getattr(self, name)
            for name in ("mine", "neighbour", "stranger", "first", "second")
        }

    @property
    def places(self) -> dict[UUID, str]:
        return {self.home: "home", self.abroad: "abroad"}

    @property
    def incidents(self) -> dict[UUID, str]:
        return {self.incident.id: "mine", self.beside.id: "beside"}

    def row(self, table: str) -> Row:
        """The row that is edited."""
        return {
            "keys": Row("keys", {"id": str(self.mine.id)}),
            "workspaces": Row("workspaces", {"id": str(self.home)}),
            "operators": Row("operators", {"id": str(self.second.id)}),
            "slots": Row(
                "slots",
                {"workspace_id": str(self.home), "service": "mine", "environment": "prod"},
            ),
            "rotations": Row("rotations", {"id": str(self.rotation.id)}),
            "findings": Row("findings", {"id": str(self.finding.id)}),
            "incidents": Row("incidents", {"id": str(self.incident.id)}),
            "incident_keys": Row(
                "incident_keys",
                {"incident_id": str(self.incident.id), "key_id": str(self.mine.id)},
            ),
            "destinations": Row("destinations", {"id": str(self.destination.id)}),
            "channels": Row("channels", {"id": str(self.channel.id)}),
            "posture_waivers": Row("posture_waivers", {"id": str(self.waiver.id)}),
            "change_head": Row("change_head", {"id": 1}),
        }[table]


DENIED = {
    "keys": {"mine"},
    "workspaces": {"mine", "neighbour"},
    "operators": {"second"},
    "slots": set[str](),
    "rotations": set[str](),
    "destinations": set[str](),
    "findings": set[str](),
    "incidents": set[str](),
    "incident_keys": set[str](),
    "channels": set[str](),
    "posture_waivers": set[str](),
    "change_head": set[str](),
}
KIND = {table.table.name: kind for kind, table in SEALED_TABLES.items()}


@pytest.fixture
def street(house: House) -> Street:
    abroad = house.provision("abroad")
    operator = appoint_operator(house.context, "second", OperatorKind.OPERATOR, None)
    mine = house.issue(slot="mine-prod", permissions=("keys:write",), scopes=("read",)).token
    neighbour = house.issue(slot="neighbour-prod").token
    return Street(
        house=house,
        home=house.workspace_id,
        abroad=abroad.workspace.id,
        mine=mine,
        neighbour=neighbour,
        stranger=abroad.administrator.token,
        first=house.token,
        second=operator.token,
        rotation=add_rotation(house, mine, neighbour),
        finding=add_finding(house),
        incident=add_incident(house, 1, mine),
        beside=add_incident(house, 2, neighbour),
        destination=add_destination(house),
        channel=add_channel(house),
        waiver=add_waiver(house),
    )


def add_rotation(house: House, old: Token, new: Token) -> Rotation:
    made = making.rotation(1, workspace_id=house.workspace_id, slot="mine-prod")
    made = replace(made, old_key_id=old.id, new_key_id=new.id)
    making.add_rotations(house.store, made)
    return made


def add_finding(house: House) -> Finding:
    made = making.finding(1, workspace_id=house.workspace_id, slot="mine-prod")
    beside = making.finding(2, workspace_id=house.workspace_id, slot="mine-prod", mark="beside")
    making.add_findings(house.store, made, beside)
    return made


def add_incident(house: House, number: int, token: Token) -> Incident:
    place = house.workspace_id
    key = making.contained(0, incident=number, workspace_id=place)
    key = replace(key, key_id=token.id)
    made = making.incident(number, key, workspace_id=place)
    making.add_incident(house.store, made, key)
    return made


def add_destination(house: House) -> Destination:
    made = making.destination(1, workspace_id=house.workspace_id, name="mine")
    beside = making.destination(2, workspace_id=house.workspace_id, name="beside")
    making.add_destinations(house.store, made, beside)
    return made


def add_channel(house: House) -> Channel:
    made = making.channel(1, workspace_id=house.workspace_id, name="mine")
    making.add_channels(
        house.store, made, making.channel(2, workspace_id=house.workspace_id, name="beside")
    )
    return made


def add_waiver(house: House) -> PostureWaiver:
    made = making.waiver(1, workspace_id=house.workspace_id, reason="mine")
    beside = making.waiver(2, workspace_id=house.workspace_id, reason="beside")
    making.add_waivers(house.store, made, beside)
    return made


def found(house: House, street: Street) -> set[str]:
    """Whose credential is found."""
    tokens = street.tokens
    reading = house.store.credentials.read(
        [Reference(id=one.id, is_operators=one.is_operators) for one in tokens.values()]
    )
    assert isinstance(reading.position, int)
    return {name for name, token in tokens.items() if token.id in reading.found}


def look_everywhere(
    house: House, street: Street, looks: Iterable["Look"] | None = None
) -> dict[str, set[str]]:
    """Every way to read (or those given), none of which may fail but by `IntegrityFailed`: what
    each list shows."""
    shown: dict[str, set[str]] = {}
    with house.store.read() as reading:
        for look in LOOKS if looks is None else looks:
            look(reading, street, shown)
    return shown


def looks_into(house: House, street: Street, table: str) -> list["Look"]:
    """The ways to read that ask for something of the table, now that nothing is damaged. To the
    others it is the same whatever stands there."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        asked.append(statement)

    found = []
    event.listen(Engine, "before_cursor_execute", note)
    try:
        for look in LOOKS:
            asked.clear()
            look_everywhere(house, street, [look])
            if any(re.search(rf"\b{table}\b", statement) for statement in asked):
                found.append(look)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return found


Shown = dict[str, set[str]]
Look = Callable[[Reading, Street, Shown], object]


def find_each(reading: Reading, street: Street, table: str) -> None:
    finds: dict[str, Callable[[], object]] = {
        "keys": lambda: reading.keys.find(street.home, street.mine.id),
        "workspaces": lambda: reading.workspaces.find(street.home),
        "slots": lambda: reading.slots.find(
            street.home, SlotName(service="mine", environment="prod")
        ),
        "operators": lambda: reading.operators.find(street.second.id),
        "rotations": lambda: reading.rotations.find(street.home, street.rotation.id),
        "findings": lambda: reading.findings.find(street.home, street.finding.id),
        "destinations": lambda: reading.destinations.find(street.home, street.destination.id),
        "incidents": lambda: reading.incidents.find(street.home, street.incident.id),
        "incident_keys": lambda: reading.incidents.keys_of(street.home, street.incident.id),
        "channels": lambda: reading.channels.find(street.home, street.channel.id),
        "posture_waivers": lambda: reading.posture_waivers.find(street.home, street.waiver.id),
    }
    attempt(finds[table])


def list_keys(reading: Reading, street: Street, shown: Shown) -> None:
    names = {token.id: name for name, token in street.tokens.items()}
    everything = KeyFilter(status=None, now=0)
    mine = shown.setdefault("keys", set())
    for place in street.places:
        views = reading.keys.list(place, everything, limit=100, before=None)
        mine |= {names[view.key.id] for view in views}
        assert reading.keys.count(place, everything) >= len(views)


def list_slots(reading: Reading, street: Street, shown: Shown) -> None:
    any_slot = _AnySlot(patterns=("*",), service=None, environment=None, owner=None)
    mine = shown.setdefault("slots", set())
    for place in street.places:
        slots = reading.slots.list(place, **any_slot, limit=100, before=None)
        mine |= {slot.name.service for slot in slots}
        assert reading.slots.count(place, **any_slot) >= len(slots)


def list_rotations(reading: Reading, street: Street, shown: Shown) -> None:
    mine = shown.setdefault("rotations", set())
    for place in street.places:
        rotations = reading.rotations.list(place, RotationFilter(), limit=100, before=None)
        mine |= {street.places[rotation.workspace_id] for rotation in rotations}


def list_findings(reading: Reading, street: Street, shown: Shown) -> None:
    mine = shown.setdefault("findings", set())
    for place in street.places:
        findings = reading.findings.list(place, FindingFilter(), limit=100, before=None)
        marks = {finding.mark for finding in findings}
        mine |= marks
        assert {one.mark for one in reading.findings.unresolved(place)} <= marks


def list_incidents(reading: Reading, street: Street, shown: Shown) -> None:
    mine = shown.setdefault("incidents", set())
    for place in street.places:
        incidents = reading.incidents.list(place, IncidentFilter(), limit=100, before=None)
        mine |= {street.incidents[one.id] for one in incidents}


def list_incident_keys(reading: Reading, street: Street, shown: Shown) -> None:
    keys = reading.incidents.keys_of_each((street.incident, street.beside))
    shown["incident_keys"] = {street.incidents[id_] for id_, found in keys.items() if found}


def list_destinations(reading: Reading, street: Street, shown: Shown) -> None:
    mine = shown.setdefault("destinations", set())
    for place in street.places:
        destinations = reading.destinations.list(place, None, limit=100, before=None)
        mine |= {one.name for one in destinations}
        assert reading.destinations.count(place, None) >= len(destinations)


def list_channels(reading: Reading, street: Street, shown: Shown) -> None:
    mine = shown.setdefault("channels", set())
    for place in street.places:
        channels = reading.channels.list(place, limit=100, before=None)
        mine |= {channel.name for channel in channels}
        assert [*reading.channels.of_workspace(place)] == [*reversed(channels)]


def list_waivers(reading: Reading, street: Street, shown: Shown) -> None:
    mine = shown.setdefault("posture_waivers", set())
    for place in street.places:
        kept = reading.posture_waivers
        mine |= {one.reason for one in kept.list(place, slots=("*",), limit=100, before=None)}
        kept.holding(place, 0)
        kept.held(place, 0, LATEST - 1)


def list_operators(reading: Reading, street: Street, shown: Shown) -> None:
    names = {token.id: name for name, token in street.tokens.items()}
    shown["operators"] = {names[operator.id] for operator in reading.operators.list()}


def list_workspaces(reading: Reading, street: Street, shown: Shown) -> None:
    workspaces = reading.workspaces.list(limit=100, before=None)
    shown["workspaces"] = {street.places[workspace.id] for workspace in workspaces}


def count_workspaces(reading: Reading, street: Street, shown: Shown) -> None:
    reading.workspaces.only()
    assert reading.workspaces.count() == 2


def locate(reading: Reading, street: Street, shown: Shown) -> None:
    attempt(locate_key, street.house.context, street.house.operator, None, street.mine.id)


LOOKS: tuple[Look, ...] = (
    *(
        partial(lambda table, reading, street, _: find_each(reading, street, table), table)
        for table in SEALED
    ),
    lambda reading, street, _: attempt(reading.keys.view, street.home, street.mine.id),
    lambda reading, street, _: attempt(
        reading.rotations.open_of_slot, street.home, street.rotation.slot
    ),
    lambda reading, street, _: attempt(reading.rotations.open_of_key, street.home, street.mine.id),
    lambda reading, street, _: attempt(
        reading.destinations.named, street.home, street.destination.name
    ),
    lambda reading, street, _: attempt(reading.incidents.open_of_key, street.home, street.mine.id),
    lambda reading, street, _: reading.incidents.of_key(street.home, street.mine.id),
    lambda reading, street, _: reading.incidents.workspace_of(street.incident.id),
    lambda reading, *_: reading.incidents.open(after=None, limit=100),
    lambda reading, *_: reading.incidents.ended(after=None, limit=100),
    lambda reading, street, _: reading.incidents.late_uses(key_ids=[street.mine.id]),
    lambda reading, street, _: reading.incidents.late_uses(incident_ids=[street.incident.id]),
    lambda reading, *_: reading.incidents.run_out(0, limit=100),
    lambda reading, street, _: reading.incidents.successors(street.home, [street.mine.id]),
    lambda reading, street, _: reading.rotations.successors(street.home, [street.mine.id]),
    lambda reading, street, _: reading.destinations.workspace_of(street.destination.id),
    lambda reading, street, _: reading.channels.workspace_of(street.channel.id),
    lambda reading, *_: reading.channels.earliest(),
    lambda reading, street, _: reading.posture_waivers.workspace_of(street.waiver.id),
    lambda reading, street, _: reading.rotations.workspace_of(street.rotation.id),
    lambda reading, street, _: reading.findings.workspace_of(street.finding.id),
    lambda reading, *_: reading.rotations.open(after=None, limit=100),
    lambda reading, street, _: reading.keys.workspace_of(street.mine.id),
    count_workspaces,
    list_keys,
    list_slots,
    list_rotations,
    list_findings,
    list_incidents,
    list_incident_keys,
    list_destinations,
    list_channels,
    list_waivers,
    list_operators,
    list_workspaces,
    locate,
)


class _AnySlot(TypedDict):
    patterns: tuple[str, ...]
    service: None
    environment: None
    owner: None


def attempt(look: Any, *arguments: object) -> object:
    try:
        return look(*arguments)
    except KeyturnError as refusal:
        return refusal


SHOWN = {
    "keys": {"mine", "neighbour", "stranger"},
    "slots": {"mine", "neighbour", "administrator"},
    "operators": {"first", "second"},
    "workspaces": {"home", "abroad"},
    "rotations": {"home"},
    "destinations": {"mine", "beside"},
    "findings": {"", "beside"},
    "incidents": {"mine", "beside"},
    "incident_keys": {"mine", "beside"},
    "channels": {"mine", "beside"},
    "posture_waivers": {"mine", "beside"},
}
SHOWN_LESS = {
    "keys": "mine",
    "slots": "mine",
    "operators": "second",
    "workspaces": "home",
    "rotations": "home",
    "destinations": "mine",
    "findings": "",
    "incidents": "mine",
    "incident_keys": "mine",
    "channels": "mine",
    "posture_waivers": "mine",
}


# What a credential goes by to find the open rotation of its key: another value is of another key.
UNJOINED = {
    ("rotations", name)
    for name in ("workspace_id", "service", "environment", "old_key_id", "state")
}


# What no credential asks for.
UNASKED = {
    table: {(table, column.name) for column in metadata.tables[table].columns}
    if table
    in ("findings", "incidents", "incident_keys", "destinations", "channels", "posture_waivers")
    else set[tuple[str, str]]()
    for table in SEALED
}


@pytest.mark.parametrize("table", SEALED)
def test_an_edited_row_is_denied_alone_and_reported(
    house: House, street: Street, table: str
) -> None:
    everybody = set(street.tokens)
    assert found(house, street) == everybody
    assert look_everywhere(house, street) == SHOWN
    assert house.damage == []
    row = street.row(table)
    looks = looks_into(house, street, table)
    loosen(house, table)
    edited: dict[str, int] = {}
    with house.raw() as raw:
        for column, hostile in edits(house, raw, row):
            edit = f"{column} became {hostile.name}"
            edited[column] = edited.get(column, 0) + 1
            house.damage.clear()
            assert found(house, street) == everybody - DENIED[table], edit
            is_moved = column in row.key or column == "workspace_id"
            if column not in row.key and (table, column) not in UNJOINED | UNASKED[table]:
                assert {damage.kind for damage in house.damage} == {KIND[table]}, edit
            house.damage.clear()
            shown = look_everywhere(house, street, None if edited[column] == 1 else looks)
            left = {**SHOWN, table: SHOWN[table] - {SHOWN_LESS[table]}}
            assert table in shown
            assert shown == {name: left[name] for name in shown}, edit
            assert is_moved or KIND[table] in {damage.kind for damage in house.damage}, edit
        house.damage.clear()
        assert found(house, street) == everybody
        assert look_everywhere(house, street) == SHOWN
        assert house.damage == []
    assert set(edited) == set(columns(house, table))


def test_a_head_that_was_edited_stops_every_change_and_no_verdict(
    house: House, street: Street
) -> None:
    row = street.row("change_head")
    looks = looks_into(house, street, "change_head")
    loosen(house, "change_head")
    edited = set()
    with house.raw() as raw:
        for column, hostile in edits(house, raw, row):
            edit = f"{column} became {hostile.name}"
            assert found(house, street) == set(street.tokens), edit
            shown = look_everywhere(house, street, looks if column in edited else None)
            assert shown == {name: SHOWN[name] for name in shown}, edit
            edited.add(column)
            with pytest.raises(IntegrityFailed):
                revoke(house, street.home, street.neighbour)
            with pytest.raises(IntegrityFailed), house.store.read() as reading:
                reading.head()
            assert not house.attest().is_sound, edit
    assert edited == set(columns(house, "change_head"))
    revoke(house, street.home, street.neighbour)
    assert house.attest().is_sound


def revoke(
    house: House,
    place: UUID,
    token: Token,
    reason: RevocationReason = RevocationReason.OTHER,
) -> None:
    revoke_key(house.context, house.act(), place, token.id, reason)


# --- genuine cells in the wrong place -------------------------------------------------------------


@pytest.mark.parametrize(
    "exchanged", [("mac",), ("digest",), ("digest", "peppers", "mac"), ("scopes",), "all but id"]
)
def test_cells_of_two_rows_that_were_exchanged_deny_both(
    house: House, street: Street, exchanged: tuple[str, ...] | str
) -> None:
    mine = Row("keys", {"id": str(street.mine.id)})
    neighbour = Row("keys", {"id": str(street.neighbour.id)})
    with house.raw() as raw:
        one, other = mine.genuine(raw), neighbour.genuine(raw)
        names = set(one) - {"id"} if isinstance(exchanged, str) else set(exchanged)
        mine.edit(raw, **{name: other[name] for name in names})
        neighbour.edit(raw, **{name: one[name] for name in names})
    assert found(house, street) == set(street.tokens) - {"mine", "neighbour"}
    assert {Damage("key", str(token.id)) for token in (street.mine, street.neighbour)} == set(
        house.damage
    )


def test_operators_that_were_exchanged_are_both_denied(house: House, street: Street) -> None:
    first = Row("operators", {"id": str(street.first.id)})
    second = Row("operators", {"id": str(street.second.id)})
    with house.raw() as raw:
        one, other = first.genuine(raw), second.genuine(raw)
        first.edit(raw, **{**other, "id": one["id"]})
        second.edit(raw, **{**one, "id": other["id"]})
    assert found(house, street) == set(street.tokens) - {"first", "second"}


def test_a_row_copied_to_an_id_or_a_workspace_of_its_own_is_no_key(
    house: House, street: Street
) -> None:
    """Somebody who holds `mine` wants it to work again under another id, or for another tenant."""
    forged_id = UUID(int=street.mine.id.int + 1)
    forged = make_token(brand=BRAND, environment="prod", id=forged_id, secret=bytes(SECRET_BYTES))
    with house.raw() as raw:
        genuine = Row("keys", {"id": str(street.mine.id)}).genuine(raw)
        write(raw, "keys", {**genuine, "id": str(forged_id)})
        assert house.verdict(forged) is VerdictCode.UNKNOWN
        raw.run(
            "INSERT INTO changes (position, kind, ref, version, workspace_id, at, mac)"
            " VALUES (100000, 'key', :ref, 1, :place, 1, :mac)",
            mac=bytes(33),
            ref=str(forged_id),
            place=str(street.home),
        )
        assert house.verdict(forged) is VerdictCode.UNKNOWN
        Row("keys", {"id": str(street.mine.id)}).edit(raw, workspace_id=str(street.abroad))
    assert house.verdict(street.mine) is VerdictCode.UNKNOWN
    with house.store.read() as reading:
        assert reading.keys.find(street.home, street.mine.id) is None
        with pytest.raises(IntegrityFailed):
            reading.keys.find(street.abroad, street.mine.id)
    assert found(house, street) == set(street.tokens) - {"mine"}


def test_a_row_made_with_another_row_key_is_no_key(house: House, street: Street) -> None:
    row = street.row("keys")
    with house.raw() as raw:
        cells = row.genuine(raw)
        del cells["mac"]
        assert SEALER.seal("keys", cells) == row.genuine(raw)["mac"]
        row.edit(raw, mac=Sealer(b"thief".ljust(32, b".")).seal("keys", cells))
    assert house.verdict(street.mine) is VerdictCode.UNKNOWN


def test_a_deleted_row_is_denied(house: House, street: Street) -> None:
    with house.raw() as raw:
        for table in SEALED:
            row = street.row(table)
            genuine = row.genuine(raw)
            row.delete(raw)
            assert found(house, street) == set(street.tokens) - DENIED[table], table
            row.restore(raw, genuine)
    assert found(house, street) == set(street.tokens)


# --- old genuine rows -----------------------------------------------------------------------------


def change(house: House, street: Street, table: str) -> None:
    """Takes something away, as management does."""
    match table:
        case "keys":
            revoke(house, street.home, street.mine)
        case "workspaces":
            suspension = WorkspaceAmendment(status=WorkspaceStatus.SUSPENDED)
            amend_workspace(house.context, house.act(), street.home, suspension)
        case _:
            dismiss_operator(house.context, street.second.id)


@pytest.mark.parametrize("table", ["keys", "workspaces", "operators"])
def test_an_old_genuine_row_put_back_is_denied_at_the_very_next_reading(
    house: House, street: Street, table: str
) -> None:
    everybody = set(street.tokens)
    row = street.row(table)
    assert found(house, street) == everybody  # the reader has seen, and may remember, the old row
    with house.raw() as raw:
        old = row.genuine(raw)
        change(house, street, table)
        house.damage.clear()
        row.restore(raw, old)
        assert found(house, street) == everybody - DENIED[table]
        assert {damage.kind for damage in house.damage} == {KIND[table]}
        for verb in (try_to_change, try_to_change):
            verb(house, street, table)
            assert found(house, street) == everybody - DENIED[table]
            assert row.genuine(raw) == old
    fresh = house.again()
    assert found(fresh, street) == everybody - DENIED[table]
    assert {damage.kind for damage in fresh.damage} == {KIND[table]}
    fresh.close()


def try_to_change(house: House, street: Street, table: str) -> None:
    """Management tries to change the row in every way, and may not bless it by that."""
    context, act, place, id_ = house.context, house.act(), street.home, street.mine.id
    match table:
        case "keys":
            with pytest.raises(IntegrityFailed):
                amend_key(context, act, place, id_, KeyAmendment(name="renamed"))
            with pytest.raises(IntegrityFailed):
                suspend_key(context, act, place, id_)
            with pytest.raises(IntegrityFailed):
                resume_key(context, act, place, id_)
        case "workspaces":
            with pytest.raises(IntegrityFailed):
                amend_workspace(context, act, place, WorkspaceAmendment(name="renamed"))
        case _:
            with pytest.raises(IntegrityFailed):
                dismiss_operator(context, street.second.id)


@pytest.mark.parametrize("table", ["keys", "operators", "workspaces"])
def test_a_caller_whose_row_was_put_back_changes_nothing(
    house: House, street: Street, table: str
) -> None:
    token = street.second if table == "operators" else street.mine
    caller = house.caller(token)
    row = street.row(table)
    with house.raw() as raw:
        old = row.genuine(raw)
        change(house, street, table)
        row.restore(raw, old)
    with pytest.raises(CredentialInvalid):
        house.caller(token)
    with pytest.raises(IntegrityFailed):
        house.issue(by=caller, workspace_id=street.home, slot="mine-prod")


def cover_up(raw: Raw, way: str, entry: Row, old_version: int) -> None:
    """Edits the change log so that an old row's version seems to be the last one."""
    cells = entry.genuine(raw)
    match way:
        case "delete":
            entry.delete(raw)
        case "kind":
            entry.edit(raw, kind="other")
        case "ref":
            entry.edit(raw, ref=str(UUID(int=1)))
        case "version":
            entry.edit(raw, version=old_version)
        case "position":
            entry.edit(raw, position=-1)
        case _:
            [(end,)] = raw.run("SELECT max(position) FROM changes")
            cells.update(position=end + 1, version=old_version)
            write(raw, "changes", cells)


@pytest.mark.parametrize("table", ["keys", "workspaces", "operators"])
def test_who_edits_the_change_log_to_match_an_old_row_is_found_by_the_attestation(
    house: House, street: Street, table: str
) -> None:
    """A seal cannot tell an old row from the present one, and the change log beside it can be
    edited by the same hand: the chain cannot."""
    row = street.row(table)
    ref = str(next(iter(row.key.values())))
    with house.raw() as raw:
        old = row.genuine(raw)
        change(house, street, table)
        present = row.genuine(raw)
        [(last,)] = raw.run("SELECT max(position) FROM changes WHERE ref = :ref", ref=ref)
        genuine = raw.rows("SELECT * FROM changes WHERE position >= :last", last=last)
        for way in ("delete", "kind", "ref", "version", "position", "one more"):
            assert house.attest([house.signed_head()]).is_sound
            row.restore(raw, old)
            cover_up(raw, way, Row("changes", {"position": last}), old["version"])
            # At once, by who has seen the later version; by the seals of the changes, or by the
            # gap that is left, also by who has not.
            assert found(house, street) == set(street.tokens) - DENIED[table], way
            fresh = house.again()
            if way in ("version", "one more"):
                assert found(fresh, street) == set(street.tokens) - DENIED[table], way
            else:
                scrub = Scrub(fresh.context)
                scrub.step()
                assert fresh.store.memory.fault or fresh.damage, way
            fresh.close()
            assert not house.attest().is_sound, way
            row.restore(raw, present)
            raw.run("DELETE FROM changes WHERE position >= :last OR position < 0", last=last)
            for cells in genuine:
                write(raw, "changes", cells)


# --- reporting ------------------------------------------------------------------------------------


def test_damage_is_written_down_once_whatever_the_row_says_of_itself(house: House) -> None:
    """The name of the damaged row is the attacker's to choose: it must not stop the watch."""
    watch = DamageWatch()
    genuine = str(house.issue(slot="mine-prod").token.id)
    row = Row("keys", {"id": genuine})
    loosen(house, "keys")
    reported = 0
    with house.raw() as raw:
        for column, hostile in edits(house, raw, row):
            if column not in ("id", "workspace_id", "mac"):
                continue
            house.damage.clear()
            with house.store.read() as reading:
                views = reading.keys.list(
                    house.workspace_id, KeyFilter(status=None, now=0), limit=10, before=None
                )
                assert views == []
            house.store.credentials.read([Reference(id=UUID(genuine), is_operators=False)])
            assert house.damage, f"{column} became {hostile.name}"
            for damage in house.damage:
                watch.report(damage)
            reported += watch.write_down(house.context)
            assert watch.write_down(house.context) == 0
    told = house.run("SELECT count(*) FROM activity WHERE action = 'integrity.failed'")
    assert told == [(reported,)]
    assert reported > 5
    assert house.attest().is_sound


def test_a_damaged_slot_takes_nothing_from_its_keys_but_what_it_says(
    house: House, street: Street
) -> None:
    row = street.row("slots")
    with house.raw() as raw:
        row.edit(raw, owner="mallory@example.com")
    reference = Reference(id=street.mine.id, is_operators=False)
    credential = house.store.credentials.read([reference]).found[street.mine.id]
    assert isinstance(credential, KeyCredential)
    assert credential.owner is None
    assert house.damage == [Damage("slot", f"{street.home}/mine-prod")]
    assert house.view(street.mine.id).slot is None


@pytest.mark.parametrize("damage", ["edited", "revived", "moved", "deleted"])
def test_a_damaged_key_can_be_revoked_and_no_earlier_row_of_it_returns(
    house: House, street: Street, damage: str
) -> None:
    row = street.row("keys")
    with house.raw() as raw:
        old = row.genuine(raw)
        match damage:
            case "edited":
                row.edit(raw, name="mallory")
            case "moved":
                row.edit(raw, workspace_id=str(street.abroad))
            case "deleted":
                raw.run("DELETE FROM keys WHERE id = :id", id=str(street.mine.id))
            case _:
                suspend_key(house.context, house.act(), street.home, street.mine.id)
                row.restore(raw, old)
        revoke(house, street.home, street.mine, RevocationReason.COMPROMISED)
        assert house.view(street.mine.id).key.compromised
        assert house.attest().is_sound
        raw.run("DELETE FROM keys WHERE id = :id", id=str(street.mine.id))
        row.restore(raw, old)
    assert found(house, street) == set(street.tokens) - DENIED["keys"]
    fresh = house.again()
    assert found(fresh, street) == set(street.tokens) - DENIED["keys"]
    fresh.close()


@pytest.mark.parametrize("damage", ["edited", "deleted"])
@pytest.mark.parametrize("containment", list(Containment))
def test_a_damaged_key_can_be_contained_and_no_earlier_row_of_it_returns(
    house: House, street: Street, damage: str, containment: Containment
) -> None:
    exposure = Exposure(containment=containment)
    token = house.issue(slot="other-prod").token
    row = Row("keys", {"id": str(token.id)})
    with house.raw() as raw:
        old = row.genuine(raw)
        if damage == "edited":
            row.edit(raw, name="mallory")
        else:
            row.delete(raw)
        named = Named(ids=(token.id,), tokens=(token,))
        opened = open_incident(house.context, house.act(), street.home, exposure, named, 0)
        (key,) = opened.judged.keys
        assert (key.contained.key_id, key.status(0)) == (token.id, KeyStatus.REVOKED)
        assert "Waive" in opened.judged.next_step(0)
        made = replace_keys(
            house.context, house.act(), street.home, opened.judged.incident.id, None, None
        )
        assert made.made == ()
        raw.run("DELETE FROM keys WHERE id = :id", id=str(token.id))
        row.restore(raw, old)
    assert house.verdict(token) is VerdictCode.UNKNOWN


def test_a_key_of_another_workspace_is_not_buried(house: House, street: Street) -> None:
    with pytest.raises(KeyUnknown):
        revoke_key(
            house.context, house.act(), street.abroad, street.mine.id, RevocationReason.OTHER
        )
    assert house.view(street.mine.id).key.state is KeyState.ACTIVE


def test_a_damaged_slot_can_be_said_anew(house: House, street: Street) -> None:
    row = street.row("slots")
    name = SlotName(service="mine", environment="prod")
    with house.raw() as raw:
        old = row.genuine(raw)
        row.edit(raw, owner="mallory@example.com")
        house.issue(workspace_id=street.home, slot="mine-prod")  # a slot decides nothing
        assert house.view(street.mine.id).slot is None
        notes = SlotNotes(owner="ada@example.com")
        define_slot(house.context, house.act(), street.home, name, notes)
        slot = house.view(street.mine.id).slot
        assert slot is not None
        assert slot.notes.owner == "ada@example.com"
        assert house.attest().is_sound
        row.restore(raw, old)
    assert house.view(street.mine.id).slot is None


def test_every_sealed_table_is_tried() -> None:
    assert {*SEALED} == set(KIND)


GRACE = ("grace_seconds", "grace_before", "grace_lowered_at")
LATE = ("mac", "policy", "resumed_at", "reveal", *GRACE)


def test_a_late_column_that_was_set_cleared_or_swapped_is_damage(
    house: House, street: Street
) -> None:
    """While it is NULL it is not under the seal, so that older rows still fit."""
    home, abroad = (Row("workspaces", {"id": str(id_)}) for id_ in (street.home, street.abroad))

    def is_good(id_: UUID) -> bool:
        with house.store.read() as reading:
            return isinstance(attempt(reading.workspaces.find, id_), Workspace)

    with house.raw() as raw:
        bare = home.genuine(raw)
        sealed = {name: bare[name] for name in bare if name not in LATE}
        assert bare["mac"] == SEALER.seal("workspaces", sealed)
        for hostile in ("{}", "", "null"):
            home.edit(raw, policy=hostile)
            assert not is_good(street.home), hostile
            home.restore(raw, bare)
        for column in GRACE:
            for grace in (0, 1, 300, -1):
                home.edit(raw, **{column: grace})
                assert not is_good(street.home), (column, grace)
                home.restore(raw, bare)
    for id_, policy in ((street.home, '{"a":1}'), (street.abroad, '{"b":2}')):
        with house.store.change() as transaction:
            found = transaction.workspaces.find(id_)
            assert found is not None
            following = replace(found, policy=policy, version=found.version + 1)
            transaction.workspaces.replace(following, found.version)
            making.log_workspace(transaction, following)
    assert is_good(street.home)
    with house.raw() as raw:
        genuine, other = home.genuine(raw), abroad.genuine(raw)
        assert genuine["mac"] != SEALER.seal("workspaces", sealed | {"version": 2})
        for swapped in (None, "{}", other["policy"]):
            home.edit(raw, policy=swapped)
            assert not is_good(street.home), swapped
            assert house.verdict(street.mine) is VerdictCode.UNKNOWN
            home.restore(raw, genuine)
        home.edit(raw, policy=None, mac=SEALER.seal("workspaces", {**sealed, "version": 1}))
        assert not is_good(street.home)
        home.restore(raw, genuine)
    assert is_good(street.home)
    assert house.attest().is_sound


@pytest.mark.parametrize("poison", [-1, 2**62, "soon", b"x", 1.5])
@pytest.mark.parametrize("column", ["last_seen_at", "longest_gap", "allowed", "declared"])
def test_a_poisoned_use_harms_no_other_and_no_count(
    house: House, column: str, poison: object
) -> None:
    ids = [making.id_of(number) for number in (1, 2)]
    for first, id_ in enumerate(ids):
        making.record(house.store, making.request(5, key_id=id_), first=1 + first)
    try:
        house.run(
            f"UPDATE uses SET {column} = :poison WHERE key_id = :id",
            poison=poison,
            id=str(ids[0]),
        )
    except psycopg.Error:
        return  # PostgreSQL keeps no text in a number
    with house.store.read() as reading:
        assert ids[1] in {use.key_id for use in reading.uses.of(ids)}
        reading.usage.runtimes(ids[0], since=0, until=10)
    making.record(house.store, making.request(6, key_id=ids[0]), first=9)
    assert house.run("SELECT allowed FROM key_usage WHERE key_id = :id", id=str(ids[0])) == [(2,)]


@pytest.mark.parametrize("poison", [9 * 10**18, -1])
def test_a_poisoned_time_of_use_harms_no_list(house: House, street: Street, poison: int) -> None:
    key_id = str(street.mine.id)
    house.run(
        "INSERT INTO key_usage (key_id, last_used_at, allowed, denied) VALUES (:id, :at, 1, 0)",
        id=key_id,
        at=poison,
    )
    assert house.view(street.mine.id).last_used_at is None


@pytest.mark.parametrize("poison", ["{", "null", "7", ""])
def test_a_poisoned_request_is_left_out_and_harms_no_other(house: House, poison: str) -> None:
    meter = Meter(house.context)
    for request_id in ("first", "second"):
        meter.note(
            Request(
                at=house.clock.now(),
                request_id=request_id,
                workspace_id=house.workspace_id,
                key_id=None,
                code="unknown",
                runtime=Runtime("ua:curl", declared=False),
                address=None,
                user_agent=None,
                method=None,
                path=None,
                scopes=(),
                environment=None,
            )
        )
    meter.flush()
    house.run("UPDATE requests SET scopes = :poison WHERE request_id = 'first'", poison=poison)
    with house.store.read() as transaction:
        found = transaction.requests.list(
            house.workspace_id, RequestFilter(), limit=10, before=None
        )
    assert [one.request_id for one in found] == ["second"]
    assert [one.kind for one in house.damage] == ["request"]
