"""A way out for the tests of destinations: it knows which server each host is, and can misbehave.

Hosts that it does not know are refused, as the guard would: what is sent past it is not sent.
"""

import http.client
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from keyturn.outbound.contract import (
    DEFAULT_SECONDS,
    MOST_BYTES,
    OutboundAnswer,
    OutboundFault,
    OutboundFaultKind,
)

Act = Callable[[Callable[[], OutboundAnswer]], OutboundAnswer]


class Killed(BaseException):
    """The process ends here, as it were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request, in one line: the method, the host and path, and AWS's name for the operation."""

    line: str
    seconds: float
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


@dataclass(slots=True, kw_only=True)
class _Rule:
    part: str
    act: Act
    times: int


class MeddlingOutbound:
    def __init__(self, ports: Mapping[str, int]) -> None:
        self._ports = ports
        self._rules: list[_Rule] = []
        self.sent: list[Sent] = []

    def on(self, part: str, act: Act, *, times: int = 1_000) -> None:
        """The next `times` requests whose line has `part` in it are acted on."""
        self._rules.append(_Rule(part=part, act=act, times=times))

    def behave(self) -> None:
        self._rules.clear()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes = b"",
        seconds: float = DEFAULT_SECONDS,
        most_bytes: int = MOST_BYTES,
        ca_certificate: str | None = None,
    ) -> OutboundAnswer:
        parts = urlsplit(url)
        names = {name.lower(): text for name, text in headers.items()}
        line = f"{method} {parts.netloc}{parts.path} {names.get('x-amz-target', '')}"
        self.sent.append(Sent(line=line, seconds=seconds, headers=headers, content=content))

        def pass_on() -> OutboundAnswer:
            return self._pass_on(method, url, headers=headers, content=content, seconds=seconds)

        for rule in self._rules:
            if rule.part in line and rule.times > 0:
                rule.times -= 1
                return rule.act(pass_on)
        return pass_on()

    def _pass_on(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes, seconds: float
    ) -> OutboundAnswer:
        parts = urlsplit(url)
        port = self._ports.get(parts.hostname or "")
        if port is None:
            raise OutboundFault(OutboundFaultKind.REFUSED, "This address may not be reached.")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
        try:
            connection.request(
                method, target, body=content, headers={**headers, "Host": parts.netloc}
            )
            got = connection.getresponse()
            told = {name.lower(): text for name, text in got.getheaders()}
            return OutboundAnswer(status=got.status, headers=told, content=got.read())
        finally:
            connection.close()


def fails(kind: OutboundFaultKind) -> Act:
    """Nothing is sent, and the way out says why."""

    def act(pass_on: Callable[[], OutboundAnswer]) -> OutboundAnswer:
        raise OutboundFault(kind, "A sentence of the way out.")

    return act


def answers(status: int, content: bytes, **headers: str) -> Act:
    """Nothing reaches the server; this is the answer."""

    def act(pass_on: Callable[[], OutboundAnswer]) -> OutboundAnswer:
        told = {name.replace("_", "-"): text for name, text in headers.items()}
        return OutboundAnswer(status=status, headers=told, content=content)

    return act


def loses_the_answer(pass_on: Callable[[], OutboundAnswer]) -> OutboundAnswer:
    pass_on()
    raise OutboundFault(OutboundFaultKind.TIMED_OUT, "It took too long.", was_sent=True)


def dies_before(pass_on: Callable[[], OutboundAnswer]) -> OutboundAnswer:
    raise Killed


def dies_after(pass_on: Callable[[], OutboundAnswer]) -> OutboundAnswer:
    pass_on()
    raise Killed


def first(happens: Callable[[], object]) -> Act:
    """Something else happens right before the request arrives."""

    def act(pass_on: Callable[[], OutboundAnswer]) -> OutboundAnswer:
        happens()
        return pass_on()

    return act
