"""`KeySource`: a token that is taken from its place by itself, and taken anew when it changes.

1. A file is looked at on each use, which costs next to nothing; any other place is read again
   every few seconds of use, beside the calls and never in their way.
2. Once there is a good token, nothing that befalls its place fails a call: what cannot be read, or
   is no whole token, leaves the last good one in force, with one warning in the log.
3. A token that was refused is asked for anew at once, but one that stands there still is not read
   again with each refusal: a caller whose key is revoked does not become a load on its Vault.
4. The log has one line for each new token, with its hint: `keyturn.client`.
"""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keyturn.ambient import SystemClock
from keyturn.client.errors import ConfigurationFault, KeyturnClientError, SourceFault
from keyturn.client.notices import LOGGER
from keyturn.client.sources.contract import Source, Stamp, take
from keyturn.client.sources.naming import source_of
from keyturn.domain.ambience import Clock
from keyturn.domain.token import Token

if TYPE_CHECKING:
    import logging

    import httpx2

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
        self._read_at = float("-inf")
        self._is_down = False
        self._fault: KeyturnClientError | None = None  # of the first read
        self._locks: dict[int, threading.Lock] = {}

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
            if held.stamp != self._source.stamp() or self._is_old():
                self._read_unless_another_does()
        elif self._is_old():
            self._read_beside()
        return held.token if self._held is None else self._held.token

    def refresh(self) -> Token:
        """The token that stands there now, read anew. Where that cannot be had: the last good one;
        raises `SourceFault` where there is none."""
        asked_at = self._clock.elapsed()
        with self._lock():
            if self._read_at <= asked_at:
                return self._read()
            # Of many that wait, the first has read for all; what it met, all meet.
            if self._held is not None:
                return self._held.token
            raise SourceFault(str(self._fault))

    def other_than(self, refused: Token) -> Token | None:
        """The token of the place where that is another than this one, which was refused."""
        with self._lock():
            held = self._held
            if held is not None and not _is_same(held.token, refused):
                return held.token
            is_known = self._clock.elapsed() - self._read_at < _REFUSED_SECONDS
            if held is not None and held.stamp is None and is_known:
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
        import anyio.to_thread

        return await anyio.to_thread.run_sync(self.refresh)

    async def aother_than(self, refused: Token) -> Token | None:
        """`other_than`, awaited."""
        import anyio.to_thread

        return await anyio.to_thread.run_sync(self.other_than, refused)

    # --- reading -------------------------------------------------------------------------------

    def _lock(self) -> threading.Lock:
        """That of this process: at a fork it may have been held by a thread that is not here."""
        return self._locks.setdefault(os.getpid(), threading.Lock())

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
        self._read_at = self._clock.elapsed()
        try:
            # Before the value: what is written in between is seen by the next look.
            stamp = self._source.stamp()
            token = take(self._source)
        except KeyturnClientError as fault:
            if held is None:
                self._fault = fault
                raise
            self._tell_of_fault(fault)
            return held.token
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
