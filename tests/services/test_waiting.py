"""Who waits for the writer: judged, and dated, at the moment when the turn has come."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest

from keyturn.domain.error import CredentialInvalid, KeyturnError, RequestInvalid
from keyturn.domain.instant import SECOND
from keyturn.domain.key import RevocationReason
from keyturn.domain.operator import OperatorKind
from keyturn.domain.slot import SlotName, SlotNotes
from keyturn.services.amend import KeyAmendment, amend_key
from keyturn.services.appoint import appoint_operator, dismiss_operator
from keyturn.services.context import Context
from keyturn.services.define import define_slot
from keyturn.services.issue import KeyDraft, issue_key
from keyturn.services.journal import Act
from keyturn.services.provision import (
    WorkspaceAmendment,
    WorkspaceDraft,
    amend_workspace,
    provision_workspace,
)
from keyturn.services.revoke import resume_key, revoke_key, suspend_key
from keyturn.storage.transaction import Writing
from keyturn.testing import FakeClock
from tests.houses import House

WAIT = 5 * SECOND


class SlowToOpen:
    """A store at which a change waits a while for its turn."""

    def __init__(self, store: Any, clock: FakeClock) -> None:
        self._store = store
        self._clock = clock
        self.changes = 0

    @contextmanager
    def change(self) -> Iterator[Writing]:
        self.changes += 1
        with self._store.change() as transaction:
            self._clock.advance(WAIT)
            yield transaction

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@dataclass(frozen=True, slots=True)
class Scene:
    house: House
    store: SlowToOpen
    context: Context
    key_id: UUID


@pytest.fixture
def scene(house: House) -> Scene:
    key_id = house.issue(name="other-prod").token.id
    store = SlowToOpen(house.store, house.clock)
    return Scene(house, store, replace(house.context, store=store), key_id)


Verb = Callable[[Scene, Act], object]

OF_KEYS: dict[str, Verb] = {
    "issue": lambda scene, act: issue_key(
        scene.context, act, scene.house.workspace_id, KeyDraft(name="worker-prod")
    ),
    "amend": lambda scene, act: amend_key(
        scene.context, act, scene.house.workspace_id, scene.key_id, KeyAmendment(name="b")
    ),
    "revoke": lambda scene, act: revoke_key(
        scene.context,
        act,
        scene.house.workspace_id,
        scene.key_id,
        RevocationReason.OTHER,
    ),
    "suspend": lambda scene, act: suspend_key(
        scene.context, act, scene.house.workspace_id, scene.key_id
    ),
    "resume": lambda scene, act: resume_key(
        scene.context, act, scene.house.workspace_id, scene.key_id
    ),
    "define": lambda scene, act: define_slot(
        scene.context,
        act,
        scene.house.workspace_id,
        SlotName(service="worker", environment="prod"),
        SlotNotes(owner="ada"),
    ),
}


@pytest.mark.parametrize("verb", OF_KEYS)
def test_a_key_that_expires_while_it_waits_changes_nothing(verb: str, scene: Scene) -> None:
    house = scene.house
    issued = house.issue(permissions=("admin",), expires_at=house.clock.now() + SECOND)
    caller = house.caller(issued.token)
    before = house.position()
    with pytest.raises(CredentialInvalid):
        OF_KEYS[verb](scene, house.act(caller))
    assert (scene.store.changes, house.position()) == (1, before)


OF_OPERATORS: dict[str, Verb] = {
    "provision": lambda scene, act: provision_workspace(
        scene.context, act, WorkspaceDraft(name="acme")
    ),
    "amend": lambda scene, act: amend_workspace(
        scene.context, act, scene.house.workspace_id, WorkspaceAmendment(name="b")
    ),
}


@pytest.mark.parametrize("verb", OF_OPERATORS)
def test_an_operator_who_expires_while_waiting_changes_nothing(verb: str, scene: Scene) -> None:
    house = scene.house
    soon = house.clock.now() + SECOND
    appointed = appoint_operator(house.context, "Ada", OperatorKind.OPERATOR, soon)
    caller = house.caller(appointed.token)
    before = house.position()
    with pytest.raises(CredentialInvalid):
        OF_OPERATORS[verb](scene, house.act(caller))
    assert (scene.store.changes, house.position()) == (1, before)


def test_what_would_be_dead_when_its_turn_has_come_is_refused(scene: Scene) -> None:
    house, act = scene.house, scene.house.act()
    soon = house.clock.now() + SECOND
    for make in (
        lambda: issue_key(
            scene.context, act, house.workspace_id, KeyDraft(name="a-prod", expires_at=soon)
        ),
        lambda: amend_key(
            scene.context, act, house.workspace_id, scene.key_id, KeyAmendment(expires_at=soon)
        ),
        lambda: appoint_operator(scene.context, "Ada", OperatorKind.OPERATOR, soon),
    ):
        with pytest.raises(RequestInvalid):
            make()


def test_times_and_ids_follow_the_numbers_of_the_log(scene: Scene) -> None:
    """A change dated before it waited would stand behind later ones with an earlier time."""
    house, act = scene.house, scene.house.act()
    for verb in (*OF_OPERATORS.values(), *(OF_KEYS[name] for name in ("issue", "suspend"))):
        verb(scene, act)
    issued = issue_key(scene.context, act, house.workspace_id, KeyDraft(name="late-prod"))
    assert issued.view.key.created_at == house.clock.now()
    assert issued.token.id.int >> 80 == house.clock.now() // 1_000
    appointed = appoint_operator(scene.context, "Ada", OperatorKind.OPERATOR, None)
    assert appointed.operator.created_at == house.clock.now()
    dismissed = dismiss_operator(scene.context, appointed.operator.id)
    assert dismissed.revoked_at == house.clock.now()
    times = [row[0] for row in house.run("SELECT created_at FROM activity ORDER BY number")]
    assert times == sorted(times)
    ids = [row[0] for row in house.run("SELECT id FROM activity ORDER BY number")]
    assert ids[-3:] == sorted(ids[-3:])


@pytest.mark.parametrize(
    "ask",
    [
        lambda scene, act: issue_key(
            scene.context, act, scene.house.workspace_id, KeyDraft(name="a", scopes=("a b",))
        ),
        lambda scene, act: issue_key(
            scene.context,
            act,
            scene.house.workspace_id,
            KeyDraft(name="a", not_before=2, expires_at=1),
        ),
        lambda scene, act: amend_key(
            scene.context, act, scene.house.workspace_id, scene.key_id, KeyAmendment()
        ),
        lambda scene, act: provision_workspace(scene.context, act, WorkspaceDraft(name="")),
        lambda scene, act: amend_workspace(
            scene.context, act, scene.house.workspace_id, WorkspaceAmendment(name="")
        ),
        lambda scene, _: appoint_operator(scene.context, "", OperatorKind.OPERATOR, None),
    ],
    ids=["scope", "lifetime", "empty", "workspace", "network", "operator"],
)
def test_what_is_wrong_at_any_time_does_not_wait_for_the_writer(ask: Verb, scene: Scene) -> None:
    with pytest.raises(KeyturnError):
        ask(scene, scene.house.act())
    assert scene.store.changes == 0
