"""What the HTTP library says and takes, in words and facts of ours."""

import errno
import os
from ipaddress import ip_address

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


def check_address(url: str) -> None:
    """Raises `ConfigurationFault` for an address that the library could not call."""
    try:
        httpx2.URL(url)
    except httpx2.InvalidURL:
        pass
    else:
        return
    raise ConfigurationFault("The address of Keyturn is none that can be called.")


def unproxied(url: str) -> dict[str, None]:
    """What the library is told to reach without a proxy: an address of this machine, which another
    one could not reach anyway, and would be sent the token."""
    host = httpx2.URL(url).host
    try:
        is_here = ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost" or host.endswith(".localhost")
    return {f"all://{f'[{host}]' if ':' in host else host}": None} if is_here else {}


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
