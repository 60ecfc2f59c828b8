"""How long a node that is cut off may answer by a workspace's grace, whenever it was cut off."""

from dataclasses import replace

from keyturn.domain.instant import SECOND
from keyturn.testing.ambience import SOME_TIME
from keyturn.testing.storage import making

HOUR = 3_600 * SECOND


def test_it_is_the_one_that_it_has() -> None:
    assert making.workspace().reckoned_grace(SOME_TIME) == 0
    assert replace(making.workspace(), grace_seconds=30).reckoned_grace(SOME_TIME) == 30


def test_a_longer_one_counts_on_for_as_long_as_a_node_may_know_nothing_else() -> None:
    lowered = replace(
        making.workspace(), grace_seconds=10, grace_before=100, grace_lowered_at=SOME_TIME
    )
    assert lowered.reckoned_grace(SOME_TIME) == 100
    # The longest lease there is, and then the grace that was.
    assert lowered.reckoned_grace(SOME_TIME + 130 * SECOND) == 100
    assert lowered.reckoned_grace(SOME_TIME + HOUR) == 10


def test_one_that_was_made_longer_again_is_itself() -> None:
    raised = replace(
        making.workspace(), grace_seconds=300, grace_before=100, grace_lowered_at=SOME_TIME
    )
    assert raised.reckoned_grace(SOME_TIME) == 300
