"""The services of the story: each calls the publishing API all the time, with a key of its own.

1. A service finds its token in a private file when it starts, and reads the file again when it has
   changed: a key is replaced by writing a file, without a restart.
2. It names each request by an id and writes into its journal what came of it.
3. When its leash is let go it finishes what it has sent, and ends.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path

import httpx2
import msgspec

from keyturn.ambient import SystemClock, SystemEntropy
from keyturn.client.configuration import read_token
from keyturn.client.errors import ConfigurationFault
from keyturn.demo.journal import Entry, Journal
from keyturn.demo.leash import when_released
from keyturn.domain.identity import make_id
from keyturn.domain.token import Token, parse_token

PROGRAM = "from keyturn.demo.callers import main; main()"
TIMEOUT_SECONDS = 5.0


class Duty(msgspec.Struct, frozen=True, kw_only=True):
    """What a service does: `steps` are methods on the articles, done in turn by each of its
    `lanes`, with a pause in between."""

    name: str
    url: str
    key_file: str
    journal_file: str
    steps: list[str]
    lanes: int
    pause_seconds: float


class KeyFile:
    """The token that was delivered, read anew whenever its file has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._token = self.token()

    def token(self) -> Token:
        """The token as of now. Raises `ConfigurationFault`."""
        status = self._path.stat()
        seen = status.st_ino, status.st_mtime_ns
        if seen != self._seen:
            token = parse_token(read_token(self._path))
            if token is None:
                raise ConfigurationFault(f"The file {self._path} holds no token.")
            self._token, self._seen = token, seen
        return self._token


class Caller:
    """A running service."""

    def __init__(self, duty: Duty, journal: Journal) -> None:
        self._duty = duty
        self._journal = journal
        self._key = KeyFile(Path(duty.key_file))
        self._clock = SystemClock()
        self._entropy = SystemEntropy()
        self._is_over = threading.Event()
        self._http = httpx2.Client(
            timeout=TIMEOUT_SECONDS,
            headers={"User-Agent": f"{duty.name}/1.0", "Keyturn-Runtime": duty.name},
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
        for method in cycle(self._duty.steps):
            if self._is_over.is_set():
                return
            self._journal.write(self._call(method))
            self._is_over.wait(self._duty.pause_seconds)

    def _call(self, method: str) -> Entry:
        token = self._key.token()
        request_id = f"{self._duty.name}-{make_id(self._clock.now(), self._entropy)}"
        sent_at = self._clock.elapsed()
        status = self._answer(method, request_id, token)
        return Entry(
            request_id=request_id,
            key_hint=token.hint,
            method=method,
            path="/articles",
            sent_at=sent_at,
            answered_at=self._clock.elapsed(),
            status=status,
        )

    def _answer(self, method: str, request_id: str, token: Token) -> int | None:
        try:
            return self._http.request(
                method,
                f"{self._duty.url}/articles",
                headers={"Authorization": f"Bearer {token.reveal()}", "X-Request-Id": request_id},
                json={"title": f"From {self._duty.name}"} if method == "POST" else None,
            ).status_code
        except httpx2.TransportError:
            return None


def main() -> None:
    """Works until the leash is let go. Its argument is a `Duty` as JSON, without any token."""
    duty = msgspec.json.decode(sys.argv[1], type=Duty)
    with Journal(Path(duty.journal_file)) as journal:
        caller = Caller(duty, journal)
        when_released(caller.stop)
        caller.work()
