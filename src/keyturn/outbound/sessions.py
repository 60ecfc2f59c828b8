"""The guarded way out for libraries that are built on `requests`, as some vendors' are.

1. Connections are opened by the same `Dialer`; a refusal is the same `OutboundFault`, unwrapped.
2. No proxy and no `.netrc` of the environment, no redirect, no repeat, no check left out.
3. A call ends within its time and reads no more than it may: an answer is read whole before it is
   given, and a call that is over has its connection shut.

`requests` comes with the extras of those vendors, so only their modules may import this one. One
adapter is for one thread at a time.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import NoReturn

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.retry import Retry

from keyturn.domain.ambience import Clock
from keyturn.outbound.contract import (
    DEFAULT_SECONDS,
    MOST_BYTES,
    OutboundFault,
    OutboundFaultKind,
)
from keyturn.outbound.dialing import Deadline, Dialer, Resolve, resolve_by_system, timed_out
from keyturn.outbound.guard import AddressGuard

_PIECE_BYTES = 65_536


def guarded_requests_session(
    guard: AddressGuard,
    clock: Clock,
    resolve: Resolve = resolve_by_system,
    *,
    seconds: float = DEFAULT_SECONDS,
) -> requests.Session:
    """A session that reaches only what the guard admits; `seconds` bound each of its calls."""
    return _GuardedSession(GuardedAdapter(Dialer(guard, clock, resolve), seconds))


class GuardedAdapter(HTTPAdapter):
    """To be mounted for `https://` and `http://` where a library makes its own session."""

    def __init__(self, dialer: Dialer, seconds: float = DEFAULT_SECONDS) -> None:
        self._dialer = dialer
        self._seconds = seconds
        self._open: list[socket.socket] = []
        super().__init__(max_retries=Retry(0, read=False, redirect=False))

    def init_poolmanager(self, *arguments: object, **named: object) -> None:
        super().init_poolmanager(*arguments, **named)  # type: ignore[arg-type]  # passed on
        self.poolmanager.pool_classes_by_scheme = _pool_classes(self)

    def proxy_manager_for(self, proxy: str, **named: object) -> NoReturn:
        raise OutboundFault(OutboundFaultKind.REFUSED, "No proxy is used.")

    def connect(self, connection: HTTPConnection, *, is_plain: bool) -> socket.socket:
        """What a connection of ours dials by."""
        seconds = connection.timeout if isinstance(connection.timeout, int | float) else None
        deadline = Deadline(self._dialer.clock, min(seconds or self._seconds, self._seconds))
        host = connection.host.removeprefix("[").removesuffix("]")
        connected = self._dialer.dial(host, connection.port, deadline, is_plain=is_plain)
        connected.settimeout(deadline.left())
        self._open.append(connected.dup())  # the libraries hide theirs in TLS and in the answer
        return connected

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: object = None,
        verify: object = True,
        cert: object = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        with self._bounded() as is_over:
            try:
                answer = super().send(
                    request,
                    stream=True,
                    timeout=self._seconds,
                    verify=verify if isinstance(verify, str) else True,
                )
                _read_whole(answer)
            except requests.RequestException:
                if is_over.is_set():
                    raise timed_out(was_sent=True) from None
                raise
            finally:
                self.poolmanager.clear()  # a connection is for one call
        if is_over.is_set():  # a connection that is shut looks like an answer that has ended
            raise timed_out(was_sent=True)
        return answer

    @contextlib.contextmanager
    def _bounded(self) -> Iterator[threading.Event]:
        is_over = threading.Event()

        def end() -> None:
            is_over.set()
            for one in list(self._open):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self._seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield is_over
        finally:
            timer.cancel()
            while self._open:
                self._open.pop().close()


class _GuardedSession(requests.Session):
    def __init__(self, adapter: GuardedAdapter) -> None:
        super().__init__()
        self.trust_env = False
        self._guarded = adapter

    def get_adapter(self, url: str | bytes) -> GuardedAdapter:
        return self._guarded  # whatever else a library mounts

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _pool_classes(
    adapter: GuardedAdapter,
) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return adapter.connect(self, is_plain=True)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return adapter.connect(self, is_plain=False)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _read_whole(answer: requests.Response) -> None:
    """Reads the answer as far as it may go, in the place of `requests`, which knows no bound."""
    content = bytearray()
    for piece in answer.iter_content(_PIECE_BYTES):
        content += piece
        if len(content) > MOST_BYTES:
            answer.close()
            raise OutboundFault(
                OutboundFaultKind.NOT_UNDERSTOOD, "It answered too much.", was_sent=True
            )
    answer._content = bytes(content)
    answer._content_consumed = True
