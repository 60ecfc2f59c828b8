"""`/v1/verify`, `/v1/self` and `/`: may this token do this now, what is my own, and who answers."""

from collections.abc import Mapping, Sequence

from keyturn.client.call import Call, body, reading
from keyturn.client.resources import About, Self, Verdict
from keyturn.domain.token import Token

_verdict = reading(Verdict)
_self = reading(Self)
_about = reading(About)


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
) -> Call[Verdict]:
    """Asks whether a presented token may do what is asked. A denial is an answer, not an error:
    look at `.valid`, or call `.require()`.

    What is told of the request (its id, address, path) is recorded along with the verdict.
    """
    return Call(
        method="POST",
        path="/v1/verify",
        content=body(
            api_key=api_key,
            scopes=scopes,
            request_id=request_id,
            ip=ip,
            user_agent=user_agent,
            runtime=runtime,
            environment=environment,
            method=method,
            path=path,
            headers=headers,
        ),
        read=_verdict,
    )


def look_at_self() -> Call[Self]:
    """What the token of this client is, and what it may do."""
    return Call(method="GET", path="/v1/self", read=_self)


def look_at_server() -> Call[About]:
    """What answers at the address, and its version. It may be anything: the token is not sent."""
    return Call(method="GET", path="/", is_anonymous=True, read=_about)
