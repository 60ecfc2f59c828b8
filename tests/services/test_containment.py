"""Containment: whatever a thief has done with a key, the key is ended, and what it made with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import event

from keyturn.domain.incident import MOST_KEYS, Because, Containment, IncidentReason, Outcome
from keyturn.domain.instant import DAY
from keyturn.domain.key import KeyState, RevocationReason
from keyturn.services.amend import KeyAmendment, amend_key
from keyturn.services.close import GivenWaiver, close_incident
from keyturn.services.identify import Caller
from keyturn.services.issue import IssuedKey
from keyturn.services.journal import Author
from keyturn.services.replace import replace_keys
from keyturn.services.respond import Exposure, OpenedIncident, contain, open_incident
from keyturn.services.revoke import revoke_key
from keyturn.services.rotate import RotationDraft, start_rotation
from keyturn.services.select import Found, Named
from keyturn.testing.storage import making
from tests.houses import House


def expose(
    house: House, *keys: IssuedKey, by: Caller | None = None, since: int | None = None
) -> OpenedIncident:
    return open_incident(
        house.context,
        house.act(by),
        house.workspace_id,
        Exposure(exposed_since=since),
        Named(ids=tuple(one.token.id for one in keys)),
        house.clock.now(),
    )


def state(house: House, key: IssuedKey) -> KeyState:
    return house.view(key.token.id).key.state


def held(opened: OpenedIncident) -> set[UUID]:
    return {one.key_id for one in opened.judged.contained}


def listed(opened: OpenedIncident) -> set[UUID]:
    return {id_ for id_, _ in opened.judged.unreached}


@contextmanager
def counted(house: House) -> Iterator[list[str]]:
    """The statements of what is changed meanwhile."""
    statements: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    engine = house.store._changer  # type: ignore[attr-defined]
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_a_thief_who_makes_more_keys_than_an_incident_holds_keeps_none_of_them_from_it(
    house: House,
) -> None:
    admin = house.issue(name="provisioner-prod", permissions=("admin",))
    caller = house.caller(admin.token)
    made = [house.issue(by=caller, slot=f"thief{number}-prod") for number in range(5)]

    def once_more(most: int) -> OpenedIncident:
        with house.store.change() as transaction:
            found = Found(sound=(house.view(admin.token.id).key,))
            now = house.clock.now()
            return contain(
                house.context,
                transaction,
                Author.of(house.act()),
                house.workspace_id,
                Exposure(),
                found,
                ("*",),
                now,
                now,
                action="incident.key_contained",
                most=most,
            )

    first = once_more(3)
    assert state(house, admin) is KeyState.REVOKED
    assert len(held(first)) == 3
    assert held(first) | listed(first) == {one.token.id for one in (admin, *made)}
    # Said once more, the rest is contained too; and then it is joined.
    second = once_more(MOST_KEYS)
    assert not second.is_open_already
    assert held(second) == listed(first)
    assert second.elsewhere == ((admin.token.id, first.judged.incident.id),)
    assert all(state(house, one) is KeyState.REVOKED for one in made)
    third = once_more(MOST_KEYS)
    assert third.is_open_already
    assert third.judged.incident.id == first.judged.incident.id


def test_a_key_that_turns_out_to_be_exposed_for_longer_takes_what_it_made_with_it(
    house: House,
) -> None:
    born = house.clock.now()
    admin = house.issue(name="provisioner-prod", permissions=("admin",))
    caller = house.caller(admin.token)
    early = house.issue(by=caller, slot="early-prod")
    house.clock.advance(10 * DAY)
    middle = house.issue(by=caller, slot="middle-prod")
    house.clock.advance(10 * DAY)
    first = expose(house, admin, since=house.clock.now() - DAY)
    assert held(first) == {admin.token.id}
    assert listed(first) == {early.token.id, middle.token.id}
    # Said again with nothing new, it is joined, and what was left alone stays so.
    for since in (None, house.clock.now() - DAY):
        joined = expose(house, admin, since=since)
        assert joined.is_open_already
        assert joined.judged.incident.id == first.judged.incident.id
    assert state(house, middle) is KeyState.ACTIVE

    second = expose(house, admin, since=born + DAY)
    assert not second.is_open_already
    assert [(one.key_id, one.because) for one in second.judged.contained] == [
        (middle.token.id, Because.MADE_BY_CONTAINED)
    ]
    assert state(house, middle) is KeyState.REVOKED
    assert state(house, early) is KeyState.ACTIVE


def test_who_reaches_more_slots_contains_what_the_first_could_not(house: House) -> None:
    admin = house.issue(name="provisioner-prod", permissions=("admin",))
    made = house.issue(by=house.caller(admin.token), slot="thief-dev")
    narrow = house.issue(slot="oncall-prod", permissions=("incidents:write@provisioner-*",))
    first = expose(house, admin, by=house.caller(narrow.token))
    assert listed(first) == {made.token.id}
    assert state(house, made) is KeyState.ACTIVE
    second = expose(house, admin)
    assert held(second) == {made.token.id}
    assert state(house, made) is KeyState.REVOKED


def test_what_is_no_key_costs_no_question_each(build_house: Any) -> None:
    house: House = build_house("sqlite")
    key = house.issue(name="worker-prod")
    made_up = [house.context.new_id(house.clock.now()) for _ in range(2_000)]
    with counted(house) as statements:
        opened = open_incident(
            house.context,
            house.act(),
            house.workspace_id,
            Exposure(),
            Named(ids=(*made_up, key.token.id)),
            house.clock.now(),
        )
    assert held(opened) == {key.token.id}
    assert len(opened.unmatched) == len(made_up)
    assert len(statements) < 100


def test_a_dead_key_is_not_brought_back_by_its_incident(house: House) -> None:
    admin = house.issue(name="old-prod", permissions=("admin",))
    revoke_key(
        house.context, house.act(), house.workspace_id, admin.token.id, RevocationReason.UNUSED
    )
    house.clock.advance(DAY)
    opened = expose(house, admin)
    incident_id = opened.judged.incident.id
    made = replace_keys(house.context, house.act(), house.workspace_id, incident_id, None, None)
    assert made.made == ()
    closed = close_incident(
        house.context, house.act(), house.workspace_id, incident_id, Outcome.CONFIRMED
    )
    assert closed.incident.outcome is Outcome.CONFIRMED
    # Who wants one all the same names the key.
    again = expose(house, admin).judged.incident.id
    ids = [admin.token.id]
    made = replace_keys(house.context, house.act(), house.workspace_id, again, ids, None)
    assert [one.replaces for one in made.made] == ids


def test_a_key_that_was_rotated_before_has_its_replacement(house: House) -> None:
    old = house.issue(name="worker-prod")
    start_rotation(house.context, house.act(), house.workspace_id, old.token.id, RotationDraft())
    making.record(
        house.store,
        making.request(house.clock.now(), key_id=old.token.id, workspace_id=house.workspace_id),
    )
    house.clock.advance(DAY)
    revoke_key(
        house.context, house.act(), house.workspace_id, old.token.id, RevocationReason.SUPERSEDED
    )
    opened = expose(house, old)
    (key,) = opened.judged.keys
    assert not key.recovery.needs_replacement
    assert key.recovery.is_succeeded


def test_what_was_suspended_is_revoked_for_what_its_incident_was_about(house: House) -> None:
    key = house.issue(name="worker-prod")
    exposure = Exposure(reason=IncidentReason.STAFF_CHANGE, containment=Containment.SUSPEND)
    named, now = Named(ids=(key.token.id,)), house.clock.now()
    opened = open_incident(house.context, house.act(), house.workspace_id, exposure, named, now)
    assert state(house, key) is KeyState.SUSPENDED
    id_ = opened.judged.incident.id
    waiver = GivenWaiver(key_id=key.token.id, reason="gone", until=now + DAY)
    close_incident(house.context, house.act(), house.workspace_id, id_, Outcome.CONFIRMED, [waiver])
    assert house.view(key.token.id).key.revocation_reason is RevocationReason.STAFF_CHANGE


def test_keys_that_the_stolen_one_changed_meanwhile_are_listed(house: House) -> None:
    admin = house.issue(name="admin-prod", permissions=("admin",))
    widened, before, narrow = (house.issue(slot=f"{name}-prod") for name in ("a", "b", "c"))
    thief = house.caller(admin.token)

    def widen(key: IssuedKey, by: Caller) -> None:
        rights = KeyAmendment(permissions=("keys:write",))
        amend_key(house.context, house.act(by), house.workspace_id, key.token.id, rights)

    widen(before, thief)
    house.clock.advance(2 * DAY)
    widen(widened, thief)
    widen(narrow, house.operator)
    opened = expose(house, admin, since=house.clock.now() - DAY)
    assert listed(opened) == {widened.token.id}
    assert state(house, widened) is KeyState.ACTIVE
