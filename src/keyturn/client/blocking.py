"""`Keyturn`, the client that blocks."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import httpx2

from keyturn.ambient import SystemClock, SystemEntropy
from keyturn.client.activity import list_activity
from keyturn.client.attempts import RetryPolicy
from keyturn.client.binding import Group, Listed, Sent
from keyturn.client.call import Answer, Call
from keyturn.client.configuration import address, credential
from keyturn.client.exchange import Failure, Outgoing, Session, Wait
from keyturn.client.failing import failure_of
from keyturn.client.keys import (
    change_key,
    create_key,
    list_keys,
    read_key,
    resume_key,
    revoke_key,
    suspend_key,
    trace_key,
)
from keyturn.client.requests import list_requests, measure_usage
from keyturn.client.slots import define_slot, list_slots, read_slot
from keyturn.client.verify import look_at_self, look_at_server, verify
from keyturn.client.workspaces import (
    change_workspace,
    create_workspace,
    list_workspaces,
    read_workspace,
)
from keyturn.domain.token import Token

T = TypeVar("T")


class Keys(Group):
    create = Sent(create_key)
    list = Listed(list_keys)
    read = Sent(read_key)
    change = Sent(change_key)
    revoke = Sent(revoke_key)
    suspend = Sent(suspend_key)
    resume = Sent(resume_key)
    trace = Sent(trace_key)
    usage = Sent(measure_usage)


class Slots(Group):
    list = Listed(list_slots)
    read = Sent(read_slot)
    define = Sent(define_slot)


class Workspaces(Group):
    create = Sent(create_workspace)
    list = Listed(list_workspaces)
    read = Sent(read_workspace)
    change = Sent(change_workspace)


class Requests(Group):
    list = Listed(list_requests)


class Activity(Group):
    list = Listed(list_activity)


class Keyturn(Group):
    """A client of one Keyturn, for any number of threads. Use it as a context manager, or `close`
    it.

    `url` and the token are taken from `KEYTURN_URL` and `KEYTURN_API_KEY` (or, better, the file
    that `KEYTURN_API_KEY_FILE` names) where they are not given. `workspace` is for operators;
    `runtime` is the name by which this workload declares itself. Raises `ConfigurationFault`.
    """

    verify = Sent(verify)
    whoami = Sent(look_at_self)
    about = Sent(look_at_server)

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | Token | None = None,
        api_key_file: str | Path | None = None,
        workspace: str | None = None,
        runtime: str | None = None,
        timeout_seconds: float = 30.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        super().__init__(self)
        self._clock = SystemClock()
        self._session = Session(
            url=address(os.environ, url),
            api_key=credential(os.environ, api_key, api_key_file),
            workspace=workspace,
            runtime=runtime,
            retry=retry or RetryPolicy(),
            clock=self._clock,
            entropy=SystemEntropy(),
        )
        self._http = httpx2.Client(timeout=timeout_seconds)
        self.keys = Keys(self)
        self.slots = Slots(self)
        self.workspaces = Workspaces(self)
        self.requests = Requests(self)
        self.activity = Activity(self)

    @property
    def url(self) -> str:
        return self._session.url

    def send(self, call: Call[T]) -> T:
        """Sends a call, again where it may be, and gives its result."""
        steps = self._session.exchange(call)
        step = next(steps)
        while True:
            outcome = None
            if isinstance(step, Wait):
                self._clock.sleep(step.seconds)
            else:
                outcome = self._sent(step)
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                result: T = done.value
                return result

    def _sent(self, outgoing: Outgoing) -> Answer | Failure:
        try:
            response = self._http.request(
                outgoing.method,
                outgoing.url,
                headers=dict(outgoing.headers),
                content=outgoing.content,
            )
        except httpx2.TransportError as error:
            return failure_of(error)
        return Answer(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            content=response.content,
        )

    def close(self) -> None:
        """Gives the connections back."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
