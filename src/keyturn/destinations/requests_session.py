"""A session for the libraries that send by `requests`: all of it leaves by the guarded way out.

Imported only by modules that need such a library, and those only when a destination is opened.
"""

import io
from collections.abc import Mapping

import requests
from requests.adapters import BaseAdapter

from keyturn.destinations.allotted import AllottedOutbound
from keyturn.destinations.contract import DestinationFault, FaultKind
from keyturn.outbound.contract import OutboundAnswer

# What was said of the content's way here; the content is whole and plain.
_OF_THE_WAY = frozenset({"content-encoding", "content-length", "set-cookie", "transfer-encoding"})


class _Raw(io.BytesIO):
    """Azure's library sets an attribute on what urllib3 would give."""

    enforce_content_length = True


class OutboundAdapter(BaseAdapter):
    """Sends by `AllottedOutbound`. Its `DestinationFault` passes through these libraries as it
    is: they catch the exceptions of `requests` only."""

    def __init__(self, way: AllottedOutbound) -> None:
        super().__init__()
        self._way = way

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float | None, float | None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        answer = self._way.send(
            request.method or "GET",
            request.url or "",
            headers={str(name): _text(value) for name, value in request.headers.items()},
            content=_content(request.body),
        )
        return _response(request, answer)

    def close(self) -> None:
        """The way out is not ours to close."""


def lead_through(session: requests.Session, way: AllottedOutbound) -> None:
    """From now on the session sends by `way` alone, whatever the address and the environment."""
    session.trust_env = False
    session.adapters.clear()
    for scheme in ("https://", "http://"):
        session.mount(scheme, OutboundAdapter(way))


def make_session(way: AllottedOutbound) -> requests.Session:
    session = requests.Session()
    lead_through(session, way)
    return session


def _response(request: requests.PreparedRequest, answer: OutboundAnswer) -> requests.Response:
    response = requests.Response()
    response.status_code = answer.status
    response.headers.update(
        {name: text for name, text in answer.headers.items() if name not in _OF_THE_WAY}
    )
    response.url = request.url or ""
    response.request = request
    response.reason = ""
    response.encoding = "utf-8"
    response.raw = _Raw(answer.content)
    return response


def _content(body: object) -> bytes:
    match body:
        case None:
            return b""
        case bytes():
            return body
        case str():
            return body.encode()
        case _:
            raise DestinationFault(FaultKind.BROKEN, "A request of the library is not understood.")


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
