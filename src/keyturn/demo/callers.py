"""Who calls the publishing API in the story: services, each with a key of its own, and a thief.

1. A service takes its token from a place by itself, or from `keyturn run`, which tells it by a
   signal that there is another: either way a key is replaced without a restart. A thief has the one
   that was found in a file of somebody else.
2. Each writes into its journal what it sent and what came of it. A service says who it is and names
   each request by an id; a thief does neither, and writes down what id the API has given it.
3. The API is behind a proxy, which tells it where a call comes from. All callers being on one
   machine, each tells its own address as that proxy would.
4. When its leash is let go, or its rounds are done, it finishes what it has sent, and ends.
"""

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, cycle, repeat
from pathlib import Path
from typing import Protocol

import httpx2
import msgspec

from keyturn.ambient import SystemClock, SystemEntropy
from keyturn.client import KeySource
from keyturn.client.configuration import API_KEY_FILE, read_token
from keyturn.client.errors import ConfigurationFault
from keyturn.demo.journal import Entry, Journal
from keyturn.demo.leash import when_released
from keyturn.domain.identity import make_id
from keyturn.domain.redaction import find_token
from keyturn.domain.token import Token, parse_token

PROGRAM = "from keyturn.demo.callers import main; main()"
TIMEOUT_SECONDS = 5.0
REQUEST_ID = "X-Request-Id"


class Duty(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller does: `steps` are a method and a path, done in turn by each of its `lanes`,
    with a pause in between; so many `rounds` of them, None for no end. `source` is where it takes
    its token from, `found_in` the file in which a thief has found one; neither, where `keyturn run`
    gives it one."""

    name: str
    url: str
    address: str
    user_agent: str
    source: str | None = None
    found_in: str | None = None
    journal_file: str
    steps: list[str]
    lanes: int
    pause_seconds: float
    rounds: int | None = None


class Keys(Protocol):
    """What knows the token as of now."""

    def token(self) -> Token: ...


class InjectedKey:
    """The token that `keyturn run` has put into a file, read anew when it sends SIGHUP."""

    def __init__(self) -> None:
        self._path = Path(os.environ[API_KEY_FILE])
        self.refresh()
        signal.signal(signal.SIGHUP, lambda _number, _frame: self.refresh())

    def refresh(self) -> None:
        """Raises `ConfigurationFault`."""
        token = parse_token(read_token(self._path))
        if token is None:
            raise ConfigurationFault(f"The file {self._path} holds no token.")
        self._token = token

    def token(self) -> Token:
        return self._token


class FoundKey:
    """A token that stands somewhere in a file that is not the finder's."""

    def __init__(self, file: Path) -> None:
        found = find_token(file.read_text("utf-8"))
        if found is None:
            raise ConfigurationFault(f"There is no token in {file}.")
        self._token = found

    def token(self) -> Token:
        return self._token


class Caller:
    """A running service, or a thief."""

    def __init__(self, duty: Duty, journal: Journal) -> None:
        self._duty = duty
        self._journal = journal
        self._is_thief = duty.found_in is not None
        self._key = _keys(duty)
        self._clock = SystemClock()
        self._entropy = SystemEntropy()
        self._is_over = threading.Event()
        self._http = httpx2.Client(
            base_url=duty.url,
            timeout=TIMEOUT_SECONDS,
            headers={"User-Agent": duty.user_agent, "X-Forwarded-For": duty.address}
            | ({} if self._is_thief else {"Keyturn-Runtime": duty.name}),
        )

    def stop(self) -> None:
        """Nothing more is sent; what was sent is finished."""
        self._is_over.set()

    def work(self) -> None:
        """Calls until it is stopped."""
        with self._http, ThreadPoolExecutor(self._duty.lanes) as pool:
            lanes = [pool.submit(self._lane) for _ in range(self._duty.lanes)]
            for lane in lanes:
                lane.result()

    def _lane(self) -> None:
        rounds = self._duty.rounds
        turns = cycle((self._duty.steps,)) if rounds is None else repeat(self._duty.steps, rounds)
        for step in chain.from_iterable(turns):
            if self._is_over.is_set():
                return
            self._journal.write(self._call(*step.split()))
            self._is_over.wait(self._duty.pause_seconds)

    def _call(self, method: str, path: str) -> Entry:
        token = self._key.token()
        request_id = f"{self._duty.name}-{make_id(self._clock.now(), self._entropy)}"
        sent_at = self._clock.elapsed()
        answer = self._answer(method, path, None if self._is_thief else request_id, token)
        return Entry(
            request_id=(
                request_id if answer is None else answer.headers.get(REQUEST_ID, request_id)
            ),
            key_hint=token.hint,
            method=method,
            path=path,
            sent_at=sent_at,
            answered_at=self._clock.elapsed(),
            status=None if answer is None else answer.status_code,
        )

    def _answer(
        self, method: str, path: str, request_id: str | None, token: Token
    ) -> httpx2.Response | None:
        named = {} if request_id is None else {REQUEST_ID: request_id}
        try:
            return self._http.request(
                method,
                path,
                headers={"Authorization": f"Bearer {token.reveal()}"} | named,
                json={"title": f"From {self._duty.name}"} if method == "POST" else None,
            )
        except httpx2.TransportError:
            return None


def _keys(duty: Duty) -> Keys:
    if duty.found_in is not None:
        return FoundKey(Path(duty.found_in))
    return InjectedKey() if duty.source is None else KeySource(duty.source)


def main() -> None:
    """Works until it is done, or the leash is let go. Its argument is a `Duty` as JSON, without any
    token."""
    duty = msgspec.json.decode(sys.argv[1], type=Duty)
    with Journal(Path(duty.journal_file)) as journal:
        caller = Caller(duty, journal)
        when_released(caller.stop)
        caller.work()
