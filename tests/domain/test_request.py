"""What is recorded of a request: no secret, no query, no control character, no more than fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.request import (
    LONGEST_PATH,
    Request,
    recordable,
    recordable_path,
)
from keyturn.domain.runtime import Runtime
from keyturn.domain.token import Token
from tests.domain.samples import NOW, random_tokens, sample_token


@given(random_tokens, st.text(max_size=10), st.integers(0, 130))
def test_no_secret_is_recorded_wherever_the_text_is_cut(
    token: Token, before: str, longest: int
) -> None:
    kept = recordable(before + token.reveal(), longest)
    assert kept is not None
    assert len(kept) <= longest
    secret = token.secret().decode()
    assert not any(secret[start : start + 8] in kept for start in range(len(secret) - 7))


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        (None, None),
        ("/v1/pins", "/v1/pins"),
        ("/v1/pins?api_key=hunter2", "/v1/pins"),
        ("/v1/pins#token=hunter2", "/v1/pins"),
        ("/v1/pins#a?b", "/v1/pins"),
        ("?a", ""),
        ("/a\r\nb", "/a\ufffd\ufffdb"),
        ("/" + "x" * 3_000, "/" + "x" * (LONGEST_PATH - 1)),
    ],
    ids=lambda text: str(text)[:20].encode("unicode_escape").decode(),
)
def test_a_path_is_recorded_without_what_follows_it(path: str | None, kept: str | None) -> None:
    assert recordable_path(path) == kept


def test_a_token_in_a_path_leaves_its_hint() -> None:
    token = sample_token()
    assert recordable_path(f"/keys/{token.reveal()}/x") == f"/keys/{token.hint}[redacted]/x"


def test_a_request_is_valid_by_its_code() -> None:
    request = Request(
        at=NOW,
        request_id="r-1",
        workspace_id=None,
        key_id=None,
        code="valid",
        runtime=Runtime("ua:curl", declared=False),
        address=None,
        user_agent=None,
        method=None,
        path=None,
        scopes=(),
        environment=None,
    )
    assert request.is_valid
