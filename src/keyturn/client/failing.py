"""What the HTTP library reports when no answer comes, in words and facts of ours."""

import httpx2

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
)


def failure_of(error: httpx2.TransportError) -> Failure:
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
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return f"no connection ({inner.strerror})"
        inner = inner.__cause__ or inner.__context__
    return "no connection"
