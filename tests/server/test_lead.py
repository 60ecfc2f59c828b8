"""Who acts by itself: asked for again after a while, and told of where it changes."""

import logging

import pytest

from keyturn.domain.error import StorageUnavailable
from keyturn.domain.instant import SECOND
from keyturn.server.background import LEAD_SECONDS, Lead
from keyturn.testing import FakeClock


class Lock:
    def __init__(self) -> None:
        self.is_held = True
        self.is_away = False
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        if self.is_away:
            raise StorageUnavailable("The database is away.")
        return self.is_held


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_it_is_asked_for_again_after_a_while_and_each_change_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "keyturn.background")
    lock, clock = Lock(), FakeClock()
    lead = Lead(lock, clock.boot)
    assert lead.is_held()
    lock.is_held = False
    assert lead.is_held(), "for so long nobody else has it"
    assert lock.asked == 1
    clock.advance(round(LEAD_SECONDS * SECOND))
    assert not lead.is_held()
    assert told(caplog) == ["leading", "leading no more"]


def test_a_machine_that_slept_leads_no_more_without_asking(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lock, clock = Lock(), FakeClock()
    lead = Lead(lock, clock.boot)
    assert lead.is_held()
    lock.is_held = False
    clock.suspend(60.0)
    assert not lead.is_held()


def test_a_lock_that_is_gone_with_its_connection_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "keyturn.background")
    lock, clock = Lock(), FakeClock()
    lead = Lead(lock, clock.boot)
    assert lead.is_held()
    lock.is_away = True
    clock.advance(round(LEAD_SECONDS * SECOND))
    with pytest.raises(StorageUnavailable):
        lead.is_held()
    assert told(caplog)[-1] == "leading no more"
    lock.is_away = False
    assert lead.is_held(), "it is asked for at once"
