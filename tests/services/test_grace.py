"""A grace that is made shorter is reckoned with until nobody goes by it."""

from keyturn.domain.instant import SECOND
from keyturn.services.inspect import grace_of
from keyturn.services.provision import WorkspaceAmendment, amend_workspace
from tests.houses import House

HOUR = 3_600 * SECOND


def amended(house: House, seconds: int) -> int:
    """The grace that is reckoned with once it was made so long."""
    amendment = WorkspaceAmendment(grace_seconds=seconds)
    amend_workspace(house.context, house.act(), house.workspace_id, amendment)
    return grace_of(house.context, house.workspace_id)


def test_made_shorter_step_by_step_the_longest_counts(house: House) -> None:
    assert amended(house, 300) == 300
    assert amended(house, 100) == 300
    assert amended(house, 0) == 300
    house.clock.advance(HOUR)
    assert grace_of(house.context, house.workspace_id) == 0
    assert amended(house, 50) == 50
    assert amended(house, 0) == 50


def test_another_change_of_the_workspace_forgets_nothing(house: House) -> None:
    amended(house, 300)
    amended(house, 0)
    amend_workspace(
        house.context, house.act(), house.workspace_id, WorkspaceAmendment(name="another name")
    )
    assert grace_of(house.context, house.workspace_id) == 300
