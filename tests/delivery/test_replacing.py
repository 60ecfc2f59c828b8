"""A contained key is replaced where ours go, whatever a thief has said of that with it."""

from uuid import UUID

import pytest

from keyturn.domain.error import RequestInvalid
from keyturn.domain.instant import DAY
from keyturn.domain.slot import ExpectedRuntime, SlotNotes
from keyturn.services.connect import (
    DestinationAmendment,
    DestinationDraft,
    change_destination,
    connect_destination,
    prove_destination,
)
from keyturn.services.define import define_slot
from keyturn.services.identify import Caller
from keyturn.services.issue import IssuedKey
from keyturn.services.replace import ReplacedKeys, replace_keys
from keyturn.services.report import report_incident
from keyturn.services.respond import Exposure, open_incident
from keyturn.services.select import Named
from tests.delivery.dock import SLOT, WORKER, Dock
from tests.delivery.shelf import PASSWORD


def stolen(dock: Dock) -> tuple[IssuedKey, Caller]:
    """A day ago an administrator's key in a slot with a good shelf was stolen."""
    dock.connect()
    dock.define("shelf")
    key = dock.house.issue(slot=str(SLOT), permissions=("admin",))
    dock.settle()
    dock.house.clock.advance(DAY)
    return key, dock.house.caller(key.token)


def contain(dock: Dock, key: IssuedKey) -> UUID:
    house = dock.house
    exposure = Exposure(exposed_since=house.clock.now() - DAY // 2)
    now = house.clock.now()
    opened = open_incident(
        house.context, house.act(), house.workspace_id, exposure, Named(ids=(key.token.id,)), now
    )
    return opened.judged.incident.id


def replace(dock: Dock, incident_id: UUID, to: tuple[str, ...] | None = None) -> ReplacedKeys:
    house = dock.house
    return replace_keys(house.context, house.act(), house.workspace_id, incident_id, None, to)


def say(dock: Dock, by: Caller, **notes: object) -> None:
    house = dock.house
    given = SlotNotes(owner="ops@example.com", **notes)  # type: ignore[arg-type]
    define_slot(house.context, house.act(by), house.workspace_id, SLOT, given)


def gaps(dock: Dock, incident_id: UUID) -> str:
    house = dock.house
    report = report_incident(
        house.context, house.operator, house.workspace_id, incident_id, complete_since=None
    )
    return " ".join(report.gaps)


def test_no_new_token_goes_where_the_stolen_key_has_sent_it(dock: Dock) -> None:
    key, thief = stolen(dock)
    house = dock.house
    draft = DestinationDraft(
        name="mine", kind="shelf", config={"address": "thief"}, credential={"password": PASSWORD}
    )
    connect_destination(house.context, house.act(thief), house.workspace_id, draft)
    prove_destination(house.context, house.act(thief), house.workspace_id, "mine")
    say(dock, thief, destinations=("shelf", "mine"))
    incident_id = contain(dock, key)
    with pytest.raises(RequestInvalid, match="while that was exposed"):
        replace(dock, incident_id)
    dock.settle()
    assert dock.shelf.value(SLOT, "thief") is None
    (made,) = replace(dock, incident_id, ("shelf",)).made
    dock.settle()
    assert dock.shelf.value(SLOT) == made.issued.token.reveal()
    assert dock.shelf.value(SLOT, "thief") is None


def test_nor_to_a_destination_that_the_stolen_key_has_led_elsewhere(dock: Dock) -> None:
    key, thief = stolen(dock)
    house = dock.house
    amendment = DestinationAmendment(config={"address": "thief"}, credential={"password": PASSWORD})
    change_destination(house.context, house.act(thief), house.workspace_id, "shelf", amendment)
    prove_destination(house.context, house.act(thief), house.workspace_id, "shelf")
    incident_id = contain(dock, key)
    with pytest.raises(RequestInvalid, match="deliver_to"):
        replace(dock, incident_id)
    dock.settle()
    assert dock.shelf.value(SLOT, "thief") is None


def test_what_was_said_before_the_exposure_or_of_something_else_stands(dock: Dock) -> None:
    key, thief = stolen(dock)
    say(
        dock,
        thief,
        destinations=("shelf",),
        purpose="Publishes",
        runtimes=(ExpectedRuntime(name=WORKER, max_call_interval_seconds=600),),
    )
    incident_id = contain(dock, key)
    assert "runtimes" not in gaps(dock, incident_id)
    (made,) = replace(dock, incident_id).made
    assert [one.destination for one in made.issued.deliveries] == ["shelf"]


def test_a_report_says_whose_word_it_is_that_somebody_is_ours(dock: Dock) -> None:
    key, thief = stolen(dock)
    say(
        dock,
        thief,
        destinations=("shelf",),
        runtimes=(ExpectedRuntime(name="evil", max_call_interval_seconds=None),),
    )
    assert f"Which runtimes {SLOT} has was said with" in gaps(dock, contain(dock, key))
