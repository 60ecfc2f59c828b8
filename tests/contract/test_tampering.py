"""A row that was changed from outside is denied alone, reported, and harms nobody else."""

from dataclasses import dataclass
from typing import Any, TypedDict
from uuid import UUID

import pytest

from keyturn.domain.error import CredentialInvalid, IntegrityFailed, KeyturnError, KeyUnknown
from keyturn.domain.key import KeyState, RevocationReason
from keyturn.domain.operator import OperatorKind
from keyturn.domain.request import Request
from keyturn.domain.runtime import Runtime
from keyturn.domain.seal import Sealer
from keyturn.domain.slot import SlotName, SlotNotes
from keyturn.domain.token import SECRET_BYTES, Token, make_token
from keyturn.domain.verdict import VerdictCode
from keyturn.domain.workspace import WorkspaceStatus
from keyturn.services.amend import KeyAmendment, amend_key
from keyturn.services.appoint import appoint_operator, dismiss_operator
from keyturn.services.define import define_slot
from keyturn.services.locate import locate_key
from keyturn.services.meter import Meter
from keyturn.services.provision import WorkspaceAmendment, amend_workspace
from keyturn.services.revoke import resume_key, revoke_key, suspend_key
from keyturn.services.scrub import Scrub
from keyturn.services.watch import DamageWatch
from keyturn.storage.contract import KeyCredential, Reference
from keyturn.storage.keys import KeyFilter
from keyturn.storage.requests import RequestFilter
from keyturn.storage.sealed import Damage
from tests.contract.hostile import Row, columns, edits, loosen, write
from tests.houses import BRAND, SEALER, House, Raw

SEALED = ("keys", "workspaces", "operators", "slots")


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

    @property
    def tokens(self) -> dict[str, Token]:
        return {
            name: getattr(self, name)
            for name in ("mine", "neighbour", "stranger", "first", "second")
        }

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
            "change_head": Row("change_head", {"id": 1}),
        }[table]


DENIED = {
    "keys": {"mine"},
    "workspaces": {"mine", "neighbour"},
    "operators": {"second"},
    "slots": set[str](),
    "change_head": set[str](),
}
KIND = {"keys": "key", "workspaces": "workspace", "operators": "operator", "slots": "slot"}


@pytest.fixture
def street(house: House) -> Street:
    abroad = house.provision("abroad")
    operator = appoint_operator(house.context, "second", OperatorKind.OPERATOR, None)
    return Street(
        house=house,
        home=house.workspace_id,
        abroad=abroad.workspace.id,
        mine=house.issue(slot="mine-prod", permissions=("keys:write",), scopes=("read",)).token,
        neighbour=house.issue(slot="neighbour-prod").token,
        stranger=abroad.administrator.token,
        first=house.token,
        second=operator.token,
    )


def found(house: House, street: Street) -> set[str]:
    """Whose credential is found."""
    tokens = street.tokens
    reading = house.store.credentials.read(
        [Reference(id=one.id, is_operators=one.is_operators) for one in tokens.values()]
    )
    assert isinstance(reading.position, int)
    return {name for name, token in tokens.items() if token.id in reading.found}


def look_everywhere(house: House, street: Street) -> dict[str, set[str]]:
    """Every way to read, none of which may fail but by `IntegrityFailed`: what each list shows."""
    names = {token.id: name for name, token in street.tokens.items()}
    places = {street.home: "home", street.abroad: "abroad"}
    everything = KeyFilter(status=None, now=0)
    any_slot = _AnySlot(patterns=("*",), service=None, environment=None, owner=None)
    shown = {table: set[str]() for table in SEALED}
    with house.store.read() as reading:
        attempt(reading.keys.find, street.home, street.mine.id)
        attempt(reading.keys.view, street.home, street.mine.id)
        attempt(reading.workspaces.find, street.home)
        attempt(reading.slots.find, street.home, SlotName(service="mine", environment="prod"))
        attempt(reading.operators.find, street.second.id)
        reading.keys.workspace_of(street.mine.id)
        reading.workspaces.only()
        assert reading.workspaces.count() == 2
        for place in places:
            views = reading.keys.list(place, everything, limit=100, before=None)
            shown["keys"] |= {names[view.key.id] for view in views}
            assert reading.keys.count(place, everything) >= len(views)
            slots = reading.slots.list(place, **any_slot, limit=100, before=None)
            shown["slots"] |= {slot.name.service for slot in slots}
            assert reading.slots.count(place, **any_slot) >= len(slots)
        shown["operators"] = {names[operator.id] for operator in reading.operators.list()}
        shown["workspaces"] = {
            places[workspace.id] for workspace in reading.workspaces.list(limit=100, before=None)
        }
    attempt(locate_key, house.context, house.operator, None, street.mine.id)
    return shown


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
}
SHOWN_LESS = {
    "keys": "mine",
    "slots": "mine",
    "operators": "second",
    "workspaces": "home",
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
    loosen(house, table)
    edited: dict[str, int] = {}
    with house.raw() as raw:
        for column, hostile in edits(house, raw, row):
            edit = f"{column} became {hostile.name}"
            edited[column] = edited.get(column, 0) + 1
            house.damage.clear()
            assert found(house, street) == everybody - DENIED[table], edit
            is_moved = column in row.key or (table, column) == ("keys", "workspace_id")
            if column not in row.key:
                assert {damage.kind for damage in house.damage} == {KIND[table]}, edit
            house.damage.clear()
            shown = look_everywhere(house, street)
            assert shown == {**SHOWN, table: SHOWN[table] - {SHOWN_LESS[table]}}, edit
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
    loosen(house, "change_head")
    edited = set()
    with house.raw() as raw:
        for column, hostile in edits(house, raw, row):
            edit = f"{column} became {hostile.name}"
            edited.add(column)
            assert found(house, street) == set(street.tokens), edit
            assert look_everywhere(house, street) == SHOWN, edit
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
            cells.update(position=cells["position"] + 1, version=old_version)
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
