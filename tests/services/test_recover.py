"""Closed incidents: who tries a contained key after the end is told once, and hides nobody."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from keyturn.domain.finding import Finding, FindingKind
from keyturn.domain.incident import Outcome
from keyturn.domain.instant import DAY, SECOND
from keyturn.domain.request import Request
from keyturn.domain.runtime import Runtime
from keyturn.services.close import GivenWaiver, close_incident
from keyturn.services.issue import IssuedKey
from keyturn.services.meter import Meter
from keyturn.services.recover import FULL_SECONDS, MOST_LATE, Responder
from keyturn.services.respond import Exposure, open_incident
from keyturn.services.select import Named
from keyturn.services.witness import Witness
from tests.houses import House

KINDS = (FindingKind.CONTAINED_KEY_USED,)


class Watch:
    """A process that follows the incidents of a house."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.meter = Meter(house.context)
        witness = Witness(house.context, self.meter)
        self.responder = Responder(house.context, witness, self.meter)

    def use(self, key: IssuedKey, code: str = "revoked", workspace_id: UUID | None = None) -> None:
        self.meter.note(
            Request(
                at=self.house.clock.now(),
                request_id="late",
                workspace_id=workspace_id or self.house.workspace_id,
                key_id=key.token.id,
                code=code,
                runtime=Runtime("thief", declared=True),
                address=None,
                user_agent=None,
                method=None,
                path=None,
                scopes=(),
                environment=None,
            )
        )

    def look(self, seconds: float = 10.0) -> None:
        """Keeps what was noted, and lets two rounds pass."""
        self.meter.flush()
        for _ in range(2):
            self.house.clock.advance(int(seconds * SECOND))
            self.responder.step()

    def told(self, workspace_id: UUID | None = None) -> Sequence[Finding]:
        with self.house.store.read() as reading:
            return reading.findings.unresolved_of(workspace_id or self.house.workspace_id, KINDS)


def end(house: House, *keys: IssuedKey, workspace_id: UUID | None = None) -> None:
    """An incident over these keys, closed over waivers."""
    place = workspace_id or house.workspace_id
    now = house.clock.now()
    named = Named(ids=tuple(one.token.id for one in keys))
    opened = open_incident(house.context, house.act(), place, Exposure(), named, now)
    waivers = [
        GivenWaiver(key_id=one.token.id, reason="gone", until=now + 300 * DAY) for one in keys
    ]
    id_ = opened.judged.incident.id
    close_incident(house.context, house.act(), place, id_, Outcome.CONFIRMED, waivers)
    house.clock.advance(SECOND)


def test_a_try_after_the_end_is_told_once_however_often_it_comes(house: House) -> None:
    key, other = house.issue(slot="a-prod"), house.issue(slot="b-prod")
    end(house, key, other)
    watch = Watch(house)
    watch.look()
    assert watch.told() == []
    watch.use(key)
    watch.look()
    (found,) = watch.told()
    assert found.mark == str(key.token.id)
    position = house.position()
    for _ in range(3):
        watch.use(key)
        watch.look()
    assert house.position() == position
    # Nor does another one's try make it new.
    watch.use(other)
    watch.look()
    assert {one.mark for one in watch.told()} == {str(key.token.id), str(other.token.id)}
    assert found in watch.told()


def test_a_thief_with_many_keys_neither_floods_the_log_nor_hides_another_tenants(
    build_house: object,
) -> None:
    house: House = build_house("sqlite")  # type: ignore[operator]
    keys = [house.issue(slot=f"s{number}-prod") for number in range(MOST_LATE + 20)]
    end(house, *keys)
    home = house.provision().workspace.id
    mine = house.issue(workspace_id=home, slot="mine-prod")
    end(house, mine, workspace_id=home)
    watch = Watch(house)
    for key in keys:
        watch.use(key)
    watch.use(mine, workspace_id=home)
    watch.look()
    first = watch.told()
    assert len(first) == MOST_LATE
    assert [one.mark for one in watch.told(home)] == [str(mine.token.id)]
    position = house.position()
    for key in (*reversed(keys), *keys[::2]):
        watch.use(key)
        watch.look(1.0)
    assert watch.told() == first
    assert house.position() == position


@pytest.mark.parametrize("code", ["revoked", "valid"])
def test_what_came_while_nobody_looked_and_what_was_let_in_is_told_too(
    house: House, code: str
) -> None:
    key = house.issue(slot="a-prod")
    end(house, key)
    before = Watch(house)
    before.look()
    before.use(key, code)
    before.meter.flush()
    watch = Watch(house)  # another process, which has seen none of it
    watch.look()
    (found,) = watch.told()
    assert f'"was_allowed":{str(code == "valid").lower()}' in found.evidence


def test_what_was_let_in_is_found_once_in_a_while(house: House) -> None:
    key = house.issue(slot="a-prod")
    end(house, key)
    watch = Watch(house)
    watch.look()
    watch.use(key, "valid")
    watch.look(FULL_SECONDS)
    assert len(watch.told()) == 1
