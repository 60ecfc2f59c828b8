"""`KeySource`: a token that is taken from its place by itself, and taken anew when it changes.

1. A file is looked at on each use, which costs next to nothing; any other place is read again
   every few seconds of use, beside the calls and never in their way.
2. Once there is a good token, nothing that befalls its place fails a call: what cannot be read, or
   is no whole token, leaves the last good one in force, with one warning in the log. Of many that
   wait for a place one reads for all, and none of them in a thread that the program needs.
3. A token that was refused is asked for anew at once, but one that stands there still is not read
   again with each refusal: a caller whose key is revoked does not become a load on its Vault.
4. The log has one line for each new token, with its hint: `keyturn.client`.
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from keyturn.ambient import SystemClock
from keyturn.client.errors import ConfigurationFault, KeyturnClientError, SourceFault
from keyturn.client.notices import LOGGER
from keyturn.client.sources.contract import Source, Stamp, stamp_of, take
from keyturn.client.sources.naming import source_of
from keyturn.domain.ambience import Clock
from keyturn.domain.token import Token

if TYPE_CHECKING:
    import logging

    import anyio
    import httpx2
    from anyio.lowlevel import RunVar

Found = TypeVar("Found")

_EVERY_SECONDS = 5.0
_REFUSED_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    token: Token
    stamp: Stamp | None


class KeySource:
    """The token of a place, always the one that stands there now. For any number of threads and
    tasks; keep one for the life of the program.

    `source` is written as `keyturn run --from` takes it (`file:/run/secrets/scheduler.token`,
    `vault:secret/keyturn/scheduler-prod#api_key`), or is an object of your own that has the name
    and the methods of `keyturn.client.sources.contract.Source`. Raises `ConfigurationFault`.
    """

    def __init__(
        self,
        source: str | Source = "env:",
        *,
        every_seconds: float = _EVERY_SECONDS,
        environ: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not 0 < every_seconds < float("inf"):
            raise ConfigurationFault("A source is read every so many seconds, more than 0.")
        known = os.environ if environ is None else environ
        self._source = source_of(source, known) if isinstance(source, str) else source
        self._every_seconds = every_seconds
        self._clock = clock or SystemClock()
        self._held: _Held | None = None
        self._began_at = float("-inf")  # the last read, and
        self._read_at = float("-inf")  # its end
        self._is_down = False
        self._fault: KeyturnClientError | None = None  # of the first read
        self._locks: dict[int, threading.Lock] = {}
        self._lane: RunVar[anyio.CapacityLimiter] | None = None

    @property
    def name(self) -> str:
        """The place, as it is written."""
        return self._source.name

    def __repr__(self) -> str:
        return f"<KeySource {self.name}>"

    def token(self) -> Token:
        """The token. Waits for its place the first time only; raises `SourceFault` where that has
        none then."""
        held = self._held
        if held is None:
            return self.refresh()
        if held.stamp is not None:
            if held.stamp != stamp_of(self._source) or self._is_old():
                self._read_unless_another_does()
        elif self._is_old():
            self._read_beside()
        return held.token if self._held is None else self._held.token

    def refresh(self) -> Token:
        """The token that stands there now, read anew. Where that cannot be had: the last good one;
        raises `SourceFault` where there is none."""
        return self._refresh(self._clock.elapsed())

    def _refresh(self, asked_at: float) -> Token:
        with self._lock():
            if self._began_at <= asked_at:
                return self._read()
            # Of many that wait, the first has read for all; what it met, all meet.
            if self._held is not None:
                return self._held.token
            raise SourceFault(str(self._fault))

    def other_than(self, refused: Token) -> Token | None:
        """The token of the place where that is another than this one, which was refused."""
        return self._other_than(refused, self._clock.elapsed())

    def _other_than(self, refused: Token, asked_at: float) -> Token | None:
        with self._lock():
            held = self._held
            if held is not None and not _is_same(held.token, refused):
                return held.token
            if held is not None and self._is_known(held, asked_at):
                return None
            found = self._read()
        return None if _is_same(found, refused) else found

    def auth(self) -> "httpx2.Auth":
        """For `httpx2.Client(auth=…)` and `httpx2.AsyncClient(auth=…)`: presents the token, and
        on a 401 calls once more where the place has another one by now. A body that can be sent
        once only, a stream, is not sent again: that call is answered with the 401."""
        from keyturn.client.key_auth import KeyAuth

        return KeyAuth(self)

    async def atoken(self) -> Token:
        """`token`, awaited."""
        return self.token() if self._held is not None else await self.arefresh()

    async def arefresh(self) -> Token:
        """`refresh`, awaited."""
        return await self._beside(partial(self._refresh, self._clock.elapsed()))

    async def aother_than(self, refused: Token) -> Token | None:
        """`other_than`, awaited."""
        return await self._beside(partial(self._other_than, refused, self._clock.elapsed()))

    async def _beside(self, ask: Callable[[], Found]) -> Found:
        """In one thread, whoever else waits: those of the program's pool are not used up."""
        from anyio import CapacityLimiter, to_thread
        from anyio.lowlevel import RunVar

        if self._lane is None:
            self._lane = RunVar("keyturn-key-source")
        try:
            lane = self._lane.get()
        except LookupError:
            lane = CapacityLimiter(1)
            self._lane.set(lane)
        return await to_thread.run_sync(ask, limiter=lane)

    # --- reading -------------------------------------------------------------------------------

    def _lock(self) -> threading.Lock:
        """That of this process: at a fork it may have been held by a thread that is not here."""
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def _is_known(self, held: _Held, asked_at: float) -> bool:
        """Whether what a read has found lately, or for another that waited, answers as well."""
        is_fresh = self._clock.elapsed() - self._read_at < _REFUSED_SECONDS
        return self._began_at > asked_at or (held.stamp is None and is_fresh)

    def _is_old(self) -> bool:
        return self._clock.elapsed() - self._read_at >= self._every_seconds

    def _read_unless_another_does(self) -> None:
        lock = self._lock()
        if lock.acquire(blocking=False):
            try:
                self._read()
            finally:
                lock.release()

    def _read_beside(self) -> None:
        lock = self._lock()
        if not lock.acquire(blocking=False):
            return

        def read() -> None:
            try:
                self._read()
            finally:
                lock.release()

        try:
            threading.Thread(target=read, name="keyturn-key-source", daemon=True).start()
        except RuntimeError:  # the interpreter is about to end, or has no thread left
            lock.release()

    def _read(self) -> Token:
        """Reads the place, with the lock held. Raises where there is no token at all."""
        held = self._held
        self._began_at = self._clock.elapsed()
        try:
            # Before the value: what is written in between is seen by the next look.
            stamp = stamp_of(self._source)
            token = take(self._source)
        except KeyturnClientError as fault:
            if held is None:
                self._fault = fault
                raise
            self._tell_of_fault(fault)
            return held.token
        finally:
            # From its end on: a place that takes long to fail is not asked again at once.
            self._read_at = self._clock.elapsed()
        self._held = _Held(token=token, stamp=stamp)
        self._tell(token, held)
        return token

    # --- telling -------------------------------------------------------------------------------

    def _tell(self, token: Token, before: _Held | None) -> None:
        if self._is_down:
            self._is_down = False
            _logger().info("%s can be read again.", self.name)
        if before is not None and not _is_same(before.token, token):
            _logger().info("A new token is taken from %s: %s…", self.name, token.hint)

    def _tell_of_fault(self, fault: KeyturnClientError) -> None:
        if not self._is_down:
            self._is_down = True
            _logger().warning("%s The last good one stays in force.", fault)


def _is_same(one: Token, other: Token) -> bool:
    return one.reveal() == other.reveal()


def _logger() -> "logging.Logger":
    # Loaded where it is needed: the command line starts without.
    import logging

    return logging.getLogger(LOGGER)
