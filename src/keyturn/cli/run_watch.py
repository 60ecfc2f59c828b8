"""Watching a place for a new token, in a thread beside the command that `keyturn run` runs.

1. A file is looked at twice a second, any other place read every few seconds.
2. What is no whole token is no change: the last good one stays.
3. That a place cannot be read is told once, and once more when it can be again. A file that is
   looked at while somebody writes into it is worth no word: it must fail twice.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from keyturn.ambient import SystemClock
from keyturn.client.errors import KeyturnClientError
from keyturn.client.sources.contract import Source, Stamp, take
from keyturn.domain.token import Token

_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Changed:
    """Another token stands in the place."""

    token: Token


@dataclass(frozen=True, slots=True)
class Down:
    """The place cannot be read; `why` is a sentence."""

    why: str


@dataclass(frozen=True, slots=True)
class Back:
    """It can be read again."""


News = Changed | Down | Back


class Watch:
    """Looks at a source until it is stopped; `wake` is called after each piece of news."""

    def __init__(
        self, source: Source, token: Token, *, every_seconds: float, wake: Callable[[], None]
    ) -> None:
        self._source = source
        self._token = token
        self._every_seconds = every_seconds
        self._wake = wake
        self._clock = SystemClock()
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._ended = threading.Event()
        # Where the token was read before, the place may have changed since: look at once.
        self._stamp: Stamp | None = None
        self._read_at = float("-inf")
        self._faults = 0
        self._worth_a_word = 1 if source.stamp() is None else 2

    def start(self) -> None:
        # A read that hangs holds nobody up at the end.
        threading.Thread(target=self._run, name="keyturn-watch", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def news(self) -> Iterator[News]:
        """What happened since the last time."""
        while True:
            try:
                yield self._news.get_nowait()
            except queue.Empty:
                return

    def _run(self) -> None:
        is_file = self._source.stamp() is not None
        pause = min(_LOOK_SECONDS, self._every_seconds) if is_file else self._every_seconds
        self._look()
        while not self._ended.wait(pause):
            self._look()

    def _look(self) -> None:
        try:
            stamp = self._source.stamp()
            is_old = self._clock.elapsed() - self._read_at >= self._every_seconds
            if stamp is not None and stamp == self._stamp and not is_old:
                return
            self._read_at = self._clock.elapsed()
            token = take(self._source)
        except KeyturnClientError as fault:
            self._tell_of_fault(str(fault))
        else:
            self._stamp = stamp
            self._tell_of_token(token)

    def _tell_of_token(self, token: Token) -> None:
        if self._faults >= self._worth_a_word:
            self._tell(Back())
        self._faults = 0
        if token.reveal() != self._token.reveal():
            self._token = token
            self._tell(Changed(token))

    def _tell_of_fault(self, why: str) -> None:
        self._faults += 1
        if self._faults == self._worth_a_word:
            self._tell(Down(why))

    def _tell(self, news: News) -> None:
        self._news.put(news)
        self._wake()
