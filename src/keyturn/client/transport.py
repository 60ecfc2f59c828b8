"""What the HTTP library says and takes, in words and facts of ours."""

import errno
import os
from collections.abc import Mapping
from ipaddress import ip_address
from socket import inet_aton
from urllib.request import getproxies

import httpx2

from keyturn.client.call import Answer
from keyturn.client.errors import ConfigurationFault
from keyturn.client.exchange import Failure

# In these nothing has left for the server.
_UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (httpx2.ConnectTimeout, "no connection was made in time"),
    (httpx2.PoolTimeout, "this client has too many calls under way"),
    (httpx2.TimeoutException, "it did not answer in time"),
    (httpx2.ProxyError, "the proxy refused"),
    (httpx2.RemoteProtocolError, "what answered does not speak HTTP, or broke off"),
    (httpx2.NetworkError, "the connection was lost"),
    (httpx2.DecodingError, "the answer was damaged on its way"),
)

_READABLE = (
    "The address of {whose} is plain http, and the way there is a proxy, which could read the "
    "token; use https, or name the host in NO_PROXY where it can be reached without a proxy."
)


def check_address(url: str) -> None:
    """Raises `ConfigurationFault` for an address that the library could not call."""
    try:
        httpx2.URL(url)
    except httpx2.InvalidURL:
        pass
    else:
        return
    raise ConfigurationFault("The address of Keyturn is none that can be called.")


class _Refusing(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Stands where a proxy would read what is sent."""

    def __init__(self, whose: str) -> None:
        self._why = _READABLE.format(whose=whose)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        raise ConfigurationFault(self._why)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raise ConfigurationFault(self._why)


def ways(url: str, *, whose: str = "Keyturn") -> dict[str, _Refusing | None]:
    """What the library is told of the proxies that the environment names.

    1. An address of this machine is reached without one: another could not reach it anyway, and
       would be sent the token.
    2. No plain `http` goes through one: it would read the token, and every answer that has one. A
       host that `NO_PROXY` names is more particular than this, and is reached directly.
    """
    address = httpx2.URL(url)
    host = address.host
    if _is_here(host):
        return {f"all://{f'[{host}]' if ':' in host else host}": None}
    named = getproxies()
    has_proxy = ("http" in named or "all" in named) and "*" not in _unproxied(named)
    return {"http://": _Refusing(whose)} if address.scheme == "http" and has_proxy else {}


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        return ip_address(inet_aton(host)).is_loopback  # 127.1, as the system reads it
    except OSError:
        return host == "localhost" or host.endswith(".localhost")


def _unproxied(named: Mapping[str, str]) -> list[str]:
    return [one.strip() for one in named.get("no", "").split(",")]


def answer_of(response: httpx2.Response) -> Answer:
    """The answer that the library read."""
    return Answer(
        status=response.status_code,
        headers={name.lower(): value for name, value in response.headers.items()},
        content=response.content,
    )


def failure_of(error: httpx2.RequestError) -> Failure:
    """The failure that the library's error means."""
    if isinstance(error, httpx2.ConnectError):
        why = _connecting(error)
    else:
        why = next(
            (reason for kind, reason in _REASONS if isinstance(error, kind)),
            "the connection failed",
        )
    return Failure(why=why, was_sent=not isinstance(error, _UNSENT))


def _connecting(error: BaseException) -> str:
    """The system's own words for a connection that was not made, and nothing else of the text."""
    waiting: list[BaseException | None] = [error]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, OSError) and inner.strerror:
            return f"no connection ({_words(inner)})"
        if isinstance(inner, BaseExceptionGroup):  # one for each of the host's addresses
            waiting += inner.exceptions
        elif inner is not None:
            waiting.append(inner.__cause__ or inner.__context__)
    return "no connection"


def _words(error: OSError) -> str:
    """An event loop puts words of its own beside the system's number; those of a name that is not
    found, or of TLS, have numbers of their own."""
    is_systems = type(error) is OSError or isinstance(error, (ConnectionError, TimeoutError))
    number = error.errno or 0
    if is_systems and number in errno.errorcode:
        return os.strerror(number)
    return str(error.strerror)
