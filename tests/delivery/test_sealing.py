"""What lies in the outbox gives nothing away, and what was changed in it is not carried out."""

import re
import zlib
from typing import Any

import pytest

from keyturn.domain.delivery import DeliveryState
from keyturn.domain.error import IntegrityFailed
from keyturn.domain.evidence import DAMAGED
from keyturn.domain.token import SECRET_BYTES, Token, make_token
from keyturn.services.connect import open_destination
from keyturn.services.deliver import Deliverer
from keyturn.services.steer import Helm, roll_back
from keyturn.storage.deliveries import DeliveryFilter
from keyturn.storage.schema import deliveries
from keyturn.testing import SeededEntropy
from tests.contract.hostile import Row, edits, loosen, write
from tests.delivery.dock import SLOT, Dock
from tests.delivery.manners import behave
from tests.delivery.shelf import PASSWORD, Honest
from tests.houses import BRAND, SEALER, Raw

CANDIDATES = 1_000


def waiting(dock: Dock) -> tuple[Token, Token]:
    """Two tokens: the old one is at the place, the new one in the outbox."""
    old = dock.furnish()
    dock.shelf.manner = behave("it is down")
    started = dock.rotate(old.view.key.id)
    assert started.issued is not None
    dock.settle()
    return old.token, started.issued.token


def forge(raw: Raw, row: Row, cells: dict[str, Any]) -> None:
    """Puts other cells in the place of a row, under a good seal."""
    row.delete(raw)
    del cells["mac"]
    write(raw, row.table, {**cells, "mac": SEALER.seal(row.table, cells)})


def mend(dock: Dock) -> None:
    dock.shelf.manner = Honest()
    dock.house.clock.advance(400_000_000)
    Deliverer(dock.house.context).step()


def test_every_column_of_a_delivery_that_was_edited_keeps_it_from_being_carried_out(
    dock: Dock,
) -> None:
    old, new = waiting(dock)
    delivery = dock.delivery_of(new.id)
    row = Row("deliveries", {"id": str(delivery.id)})
    loosen(dock.house, "deliveries")
    edited = set()
    with dock.house.raw() as raw:
        for column, hostile in edits(dock.house, raw, row):
            edited.add(column)
            dock.house.damage.clear()
            mend(dock)
            assert dock.shelf.value(SLOT) == old.reveal(), f"{column} became {hostile.name}"
            if column not in ("id", "token", "next_at"):  # then nobody looks at it at once
                assert {one.kind for one in dock.house.damage} == {"delivery"}, column
    assert edited == {column.name for column in deliveries.columns}
    mend(dock)
    assert dock.shelf.value(SLOT) == new.reveal()


def test_a_damaged_delivery_holds_up_its_rotation_and_can_be_got_over(dock: Dock) -> None:
    old, new = waiting(dock)
    delivery = dock.delivery_of(new.id)
    dock.house.run("UPDATE deliveries SET destination = 'x' WHERE id = :id", id=str(delivery.id))
    assert delivery.rotation_id is not None
    blocked = dock.evidence(delivery.rotation_id).blocked_by
    assert DAMAGED in {one.code for one in blocked}
    helm = Helm(
        context=dock.house.context,
        witness=dock.witness,
        act=dock.house.act(),
        workspace_id=dock.house.workspace_id,
        id=delivery.rotation_id,
    )
    roll_back(helm)
    mend(dock)
    assert dock.shelf.value(SLOT) == old.reveal()
    again = dock.rotate(old.id)
    assert again.issued is not None
    mend(dock)
    assert dock.shelf.value(SLOT) == again.issued.token.reveal()


@pytest.mark.parametrize("column", ["token", "previous"])
def test_a_sealed_token_opens_in_its_own_row_and_column_alone(dock: Dock, column: str) -> None:
    """Whoever could even forge a row's seal gains nothing by moving what is in it."""
    old, new = waiting(dock)
    here = dock.delivery_of(new.id)
    there = dock.delivery_of(old.id)
    with dock.house.raw() as raw:
        row = Row("deliveries", {"id": str(there.id)})
        cells = row.genuine(raw)
        cells |= {"token": here.token, column: here.token, "state": "waiting"}
        forge(raw, row, cells)
    dock.shelf.written.clear()
    mend(dock)
    assert dock.shelf.written == []
    if column == "token":
        told = dock.delivery_of(old.id)
        assert told.fault is not None
        assert "changed from outside" in told.fault


@pytest.mark.parametrize("column", ["workspace_id", "key_id", "destination_id", "id"])
def test_a_delivery_whose_ids_were_exchanged_by_who_can_seal_is_not_carried_out(
    dock: Dock, column: str
) -> None:
    abroad = dock.house.provision("abroad")
    theirs = dock.connect("shelf", "theirs", abroad.workspace.id)
    other = dock.house.issue(slot=str(SLOT), workspace_id=abroad.workspace.id)
    old, new = waiting(dock)
    delivery = dock.delivery_of(new.id)
    others = {
        "workspace_id": str(abroad.workspace.id),
        "key_id": str(other.view.key.id),
        "destination_id": str(theirs.id),
        "id": "01900000-0000-7000-8000-000000000001",
    }
    with dock.house.raw() as raw:
        row = Row("deliveries", {"id": str(delivery.id)})
        cells = row.genuine(raw)
        cells[column] = others[column]
        if column == "workspace_id":
            cells |= {"destination_id": str(theirs.id), "key_id": str(other.view.key.id)}
        forge(raw, row, cells)
    mend(dock)
    assert dock.shelf.value(SLOT) == old.reveal()
    assert dock.shelf.value(SLOT, "theirs") is None


def test_a_credential_that_was_moved_to_another_destination_is_not_used(dock: Dock) -> None:
    one, two = dock.connect("one", "one"), dock.connect("two", "two")
    moved = two.changed(config=two.config, credential=one.credential or b"", nonce="0", now=1)
    with pytest.raises(IntegrityFailed):
        open_destination(dock.house.context, moved)


def test_a_dump_of_the_database_confirms_no_token_and_shows_no_credential(dock: Dock) -> None:
    """Threat 10: of a thousand candidates among which the real ones are, none is told apart."""
    old, new = waiting(dock)
    entropy = SeededEntropy(99)
    others = [
        make_token(brand=BRAND, environment="prod", id=new.id, secret=entropy.take(SECRET_BYTES))
        for _ in range(CANDIDATES)
    ]
    with dock.house.raw() as raw:
        tables = [raw.rows(f"SELECT * FROM {name}") for name in ("destinations", "deliveries")]
    dump = b"\n".join(
        cell if isinstance(cell, bytes) else str(cell).encode()
        for rows in tables
        for row in rows
        for cell in row.values()
    )
    dump += b"\n" + b"\n".join(re.findall(rb"[0-9a-f]{8,}", dump))
    for token in (*others, old, new):
        value = token.reveal().encode()
        secret = value.rsplit(b"_", 1)[1][22:]
        for spelled in (value, secret, token.secret(), value[::-1]):
            assert spelled not in dump
            assert zlib.crc32(spelled).to_bytes(4, "big") not in dump
    assert PASSWORD.encode() not in dump


def test_nothing_secret_stands_in_what_is_shown_of_a_delivery(dock: Dock) -> None:
    old, _ = waiting(dock)
    mend(dock)
    with dock.house.store.read() as reading:
        found = reading.deliveries.list(
            dock.house.workspace_id, DeliveryFilter(), limit=9, before=None
        )
    assert [one.state for one in found] == [DeliveryState.DELIVERED] * 2
    for one in found:
        assert old.reveal() not in repr(one)
        assert "previous" not in repr(one)
        assert "token=" not in repr(one)
