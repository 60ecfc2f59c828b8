"""What runs beside the requests: an idle server asks its database no more for having more in it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from keyturn.domain.instant import SECOND
from keyturn.domain.policy import RotationPolicy
from keyturn.domain.slot import SlotNotes
from keyturn.http.metrics import Metrics
from keyturn.outbound.client import GuardedOutbound
from keyturn.outbound.guard import AddressGuard
from keyturn.server.background import OVERSEE_SECONDS, Background
from keyturn.server.heads import HeadsFile
from keyturn.services.courier import Courier
from keyturn.services.meter import Meter
from keyturn.services.notify import Notifier
from keyturn.services.provision import WorkspaceDraft, provision_workspace
from keyturn.services.watch import DamageWatch
from keyturn.services.witness import Witness
from tests.houses import ENGINES, NOTARY, House

MANY = 25
ROUNDS = 5


def settle(house: House, folder: Path) -> Background:
    """The background of a server that has looked everything over once."""
    context = house.context
    meter = Meter(context)
    outbound = GuardedOutbound(AddressGuard(), context.clock)
    background = Background(
        context=context,
        meter=meter,
        metrics=Metrics(),
        damage=DamageWatch(),
        heads=HeadsFile(folder / "heads.log", NOTARY),
        witness=Witness(context, meter),
        notifier=Notifier(context, Courier(context, outbound, None)),
        leads=lambda: True,
    )
    for _ in range(ROUNDS):  # what is found first is written, and what was written is looked at
        background.round()
        house.clock.advance(int(OVERSEE_SECONDS * SECOND))
    return background


def found_more(house: House, count: int) -> None:
    """Adds workspaces with a policy, with a key to be rotated in each."""
    policy = RotationPolicy(rotation_period_days=90)
    for number in range(count):
        draft = WorkspaceDraft(name=f"team-{number}", policy=policy)
        made = provision_workspace(house.context, house.act(), draft)
        notes = SlotNotes(owner="ops@example.com", rotation_period_days=30)
        house.issue(workspace_id=made.workspace.id, notes=notes)


@contextmanager
def counting() -> Iterator[list[str]]:
    """The statements that any engine is asked meanwhile."""
    asked: list[str] = []

    def note(*call: object) -> None:
        asked.append(str(call[2]))

    event.listen(Engine, "before_cursor_execute", note)
    yield asked
    event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_idle_round_takes_as_many_statements_however_many_workspaces_there_are(
    engine: str, build_house: Callable[[str], House], tmp_path: Path
) -> None:
    counts = []
    for workspaces in (1, MANY):
        house = build_house(engine)
        found_more(house, workspaces)
        folder = tmp_path / f"{workspaces}"
        folder.mkdir()
        background = settle(house, folder)
        with counting() as asked:
            for _ in range(ROUNDS):
                house.clock.advance(int(OVERSEE_SECONDS * SECOND))
                background.round()
        counts.append(len(asked))
    assert counts[0] == counts[1]
