"""No living key is missed, though it is suspended or resumed while it is asked for."""

from datetime import UTC, datetime, timedelta

import pytest

from keyturn.cli.living import living
from keyturn.client.resources import Key

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def key(number: int, status: str) -> Key:
    made = BEGAN + timedelta(days=number)
    return Key(
        id=f"key-{number}",
        workspace_id="one",
        name="worker-prod",
        service="worker",
        environment="prod",
        scopes=[],
        permissions=[],
        allowed_cidrs=[],
        metadata={},
        status=status,
        hint=f"kt_prod_{number}",
        created_at=made,
        updated_at=made,
        version=1,
    )


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize(
    ("first", "then"), [("suspended", "active"), ("active", "suspended"), ("active", "active")]
)
def test_a_key_that_changes_before_any_question_is_found_once(
    first: str, then: str, before: int
) -> None:
    questions = 0

    def ask(status: str) -> list[Key]:
        nonlocal questions
        moving = key(2, then if questions >= before else first)
        questions += 1
        there = [key(1, "suspended"), moving, key(3, "active"), key(4, "revoked")]
        return [one for one in there if one.status == status]

    assert [one.id for one in living(ask)] == ["key-3", "key-2", "key-1"]
