"""Driving one call by hand: what was sent, how long was waited, and what came of it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

from keyturn.client import NO_RETRY, KeyturnClientError, RetryPolicy
from keyturn.client.call import Answer, Call
from keyturn.client.exchange import Failure, Fetch, Outcome, Outgoing, Session, Wait
from keyturn.client.key_source import KeySource
from keyturn.domain.token import Token, make_token
from keyturn.testing import FakeClock, SeededEntropy

T = TypeVar("T")

TOKEN = make_token(brand="kt", environment="prod", id=UUID(int=7), secret=bytes(range(32)))
OTHER = make_token(brand="kt", environment="test", id=UUID(int=8), secret=bytes(range(1, 33)))
URL = "http://keys.example.com/base"
LOST = Failure(why="the connection was lost", was_sent=True)
UNSENT = Failure(why="no connection", was_sent=False)

KEY = {
    "id": "0190-key",
    "workspace_id": "0190-workspace",
    "name": "scheduler-prod",
    "service": "scheduler",
    "environment": "prod",
    "scopes": ["read"],
    "permissions": [],
    "allowed_cidrs": [],
    "metadata": {"team": {"size": 3}},
    "status": "active",
    "hint": TOKEN.hint,
    "created_at": "2026-01-02T03:04:05.000006Z",
    "updated_at": "2026-01-02T03:04:05.000006Z",
    "version": 1,
}


@dataclass(kw_only=True)
class Driven(Generic[T]):
    """What one call did. Either `result` or `error` came of it."""

    sent: list[Outgoing] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    result: T | None = None
    error: KeyturnClientError | None = None

    def raised(self) -> KeyturnClientError:
        assert self.error is not None, "it was no error"
        return self.error

    def given(self) -> T:
        assert self.result is not None, f"it was an error: {self.error}"
        return self.result


def session(
    *,
    url: str = URL,
    api_key: str | Token | KeySource | None = TOKEN,
    workspace: str | None = None,
    runtime: str | None = None,
    retry: RetryPolicy = NO_RETRY,
    clock: FakeClock | None = None,
    seed: int = 0,
) -> Session:
    return Session(
        url=url,
        api_key=api_key,
        workspace=workspace,
        runtime=runtime,
        retry=retry,
        clock=clock or FakeClock(),
        entropy=SeededEntropy(seed),
    )


def drive(
    call: Call[T],
    outcomes: Iterable[Answer | Failure],
    *,
    retry: RetryPolicy | None = None,
    seed: int = 0,
    of: Session | None = None,
) -> Driven[T]:
    """Carries a call out against these outcomes; the last one stays for whatever is sent after."""
    clock = FakeClock()
    steps = (of or session(retry=retry or RetryPolicy(), clock=clock, seed=seed)).exchange(call)
    waiting = list(outcomes)
    driven: Driven[T] = Driven()
    outcome: Outcome = None
    try:
        step = next(steps)
        while True:
            match step:
                case Wait(seconds=seconds):
                    driven.waits.append(seconds)
                    clock.advance(int(seconds * 1_000_000))
                    outcome = None
                case Fetch(source=source, refused=refused):
                    outcome = source.token() if refused is None else source.other_than(refused)
                case Outgoing():
                    driven.sent.append(step)
                    outcome = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            step = steps.send(outcome)
    except StopIteration as done:
        driven.result = done.value
    except KeyturnClientError as error:
        driven.error = error
    return driven


def answer(status: int, body: object = None, **headers: str) -> Answer:
    """A JSON answer; a body of bytes goes as it is."""
    content = (
        body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    )
    told = {"content-type": "application/json"}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, headers=told, content=content)


def problem(
    status: int,
    code: str = "some.code",
    *,
    body: Mapping[str, object] | None = None,
    **headers: str,
) -> Answer:
    members = {"code": code, "detail": "It is so.", "request_id": "req-1", **(body or {})}
    return answer(status, members, content_type="application/problem+json", **headers)
