"""`/v1/verify` and `/v1/self`: may this token do this now, and what is my own."""

from collections.abc import Mapping, Sequence
from typing import overload

from keyturn.client.call import Call, body, reading
from keyturn.client.resources import Self, Verdict
from keyturn.domain.token import Token

_verdict = reading(Verdict)
_self = reading(Self)


def verify(
    api_key: str | Token,
    *,
    scopes: Sequence[str] | None = None,
    request_id: str | None = None,
    ip: str | None = None,
    user_agent: str | None = None,
    runtime: str | None = None,
    environment: str | None = None,
    method: str | None = None,
    path: str | None = None,
    headers: Mapping[str, str] | None = None,
    min_position: int | None = None,
) -> Call[Verdict]:
    """Asks whether a presented token may do what is asked. A denial is an answer, not an error:
    look at `.valid`, or call `.require()`.

    What is told of the request (its id, address, path) is recorded along with the verdict. The
    answer is at least as new as `min_position`: the `as_of` of another answer, or the `position` of
    a change. A verifier that has not come so far is asked again for a while, then `Unavailable`.
    """
    return Call(
        method="POST",
        path="/v1/verify",
        content=body(
            api_key=api_key.reveal() if isinstance(api_key, Token) else _clean(api_key),
            scopes=scopes,
            request_id=request_id,
            ip=ip,
            user_agent=_clean(user_agent),
            runtime=runtime,
            environment=_clean(environment),
            method=_clean(method),
            path=_clean(path),
            headers=None if headers is None else {_clean(k): _clean(v) for k, v in headers.items()},
        ),
        headers={} if min_position is None else {"Keyturn-Min-Position": str(min_position)},
        read=_verdict,
    )


def look_at_self() -> Call[Self]:
    """What the token of this client is, and what it may do."""
    return Call(method="GET", path="/v1/self", read=_self)


@overload
def _clean(text: str) -> str: ...
@overload
def _clean(text: None) -> None: ...
def _clean(text: str | None) -> str | None:
    """What a stranger sent, as it can be told: half a character in it must not stop the gate."""
    return None if text is None else text.encode("utf-8", "replace").decode()
