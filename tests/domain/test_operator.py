"""The operator: live until it is revoked or expires."""

import pytest

from keyturn.domain.operator import Operator, OperatorKind
from tests.domain.samples import NOW, sample_id


@pytest.mark.parametrize(
    ("expires_at", "revoked_at", "is_live"),
    [
        (None, None, True),
        (NOW + 1, None, True),
        (NOW, None, False),
        (NOW - 1, None, False),
        (None, NOW, False),
        (NOW + 1, NOW - 1, False),
    ],
)
def test_an_operator_lives_until_revoked_or_expired(
    expires_at: int | None, revoked_at: int | None, is_live: bool
) -> None:
    operator = Operator(
        id=sample_id(),
        name="anna",
        kind=OperatorKind.OPERATOR,
        digest=bytes(32),
        peppers="1",
        created_at=NOW,
        expires_at=expires_at,
        revoked_at=revoked_at,
        updated_at=NOW,
        version=1,
    )
    assert operator.is_live(NOW) == is_live
