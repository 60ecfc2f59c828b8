"""One call from its beginning to its result, as steps. No I/O: a face carries out each step.

`exchange` yields what is to be done next, an `Outgoing` to send, a `Wait`, or a token to `Fetch`,
is told what came of it, and returns the result or raises. The blocking and the asynchronous face
differ in nothing but how they send, wait and fetch.
"""

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

from keyturn import __version__
from keyturn.client.attempts import Attempts, RetryPolicy
from keyturn.client.call import Answer, Call
from keyturn.client.errors import ConfigurationFault, NotUnderstood, Unreachable, error_of
from keyturn.client.key_source import KeySource
from keyturn.client.notices import OF_THIS_PROCESS, Notices
from keyturn.domain.ambience import Clock, Entropy
from keyturn.domain.base62 import encode
from keyturn.domain.redaction import holds_shape
from keyturn.domain.token import Token, parse_token

T = TypeVar("T")

# Who calls is told by the token and `Keyturn-Runtime`; a host's name would make each pod another
# runtime.
USER_AGENT = f"keyturn-python/{__version__}"

_ID_BYTES = 16
_ID_WIDTH = 22
_WORKSPACE = re.compile(r"[A-Za-z0-9-]{1,64}")
_RUNTIME = re.compile(r"[A-Za-z0-9._:/@-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """Send this, and tell the `Answer` or the `Failure`."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait, and tell None."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """No answer came. `why` is a part of a sentence."""

    why: str
    was_sent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Take the token of this source, and tell it; where one was `refused`, another than that, or
    None."""

    source: KeySource
    refused: Token | None = None


Step = Outgoing | Wait | Fetch
Outcome = Answer | Failure | Token | None


class Session:
    """What all calls of a client have in common: the address, the credential, the policy."""

    def __init__(
        self,
        *,
        url: str,
        api_key: str | Token | KeySource | None,
        workspace: str | None,
        runtime: str | None,
        retry: RetryPolicy,
        clock: Clock,
        entropy: Entropy,
        notices: Notices = OF_THIS_PROCESS,
    ) -> None:
        self.url = _address(url)
        self._credential = _credential(api_key)
        self._headers = {
            "Accept": "application/json, application/problem+json",
            "User-Agent": USER_AGENT,
            **_named(
                "Keyturn-Workspace", workspace, _WORKSPACE, "The workspace is given by its id."
            ),
            **_named(
                "Keyturn-Runtime",
                runtime,
                _RUNTIME,
                "A runtime is 1 to 128 of A-Z a-z 0-9 . _ : / @ -",
            ),
        }
        self._retry = retry
        self._clock = clock
        self._entropy = entropy
        self._notices = notices

    def __repr__(self) -> str:
        return f"<Session {self.url}>"

    def exchange(self, call: Call[T]) -> Generator[Step, Outcome, T]:
        """The steps of one call. Raises a `KeyturnClientError`."""
        token = None if call.is_anonymous else (yield from self._token())
        outgoing, request_id = self._outgoing(call, token)
        try:
            result = yield from self._attempted(call, outgoing, request_id, token)
        except NotUnderstood as error:
            error.request_id = request_id
            raise
        self._notices.look_at(result)
        return result

    def _token(self) -> Generator[Step, Outcome, Token | None]:
        if not isinstance(self._credential, KeySource):
            return self._credential
        token = yield Fetch(source=self._credential)
        if not isinstance(token, Token):
            raise TypeError("the token of the source must be told")
        return token

    def _other(self, refused: Token | None) -> Generator[Step, Outcome, Token | None]:
        """The token to try instead of one that was refused, None where there is no other."""
        if refused is None or not isinstance(self._credential, KeySource):
            return None
        other = yield Fetch(source=self._credential, refused=refused)
        return other if isinstance(other, Token) else None

    def _attempted(
        self, call: Call[T], outgoing: Outgoing, request_id: str, token: Token | None
    ) -> Generator[Step, Outcome, T]:
        attempts = Attempts(self._retry, self._clock, self._entropy, may_repeat=call.may_repeat)
        while True:
            outcome = yield outgoing
            if isinstance(outcome, Answer) and _refuses_token(outcome):
                # Nothing was carried out, so any call may be made again; but once.
                other, token = (yield from self._other(token)), None
                if other is not None:
                    outgoing = replace(outgoing, headers={**outgoing.headers, **_bearer(other)})
                    continue
            match outcome:
                case Answer(status=status) if 200 <= status < 300 or status in call.also_read:
                    return call.read(outcome)
                case Answer():
                    wait = attempts.after_answer(outcome)
                    if wait is None:
                        raise error_of(outcome, attempts.retry_after_seconds(outcome))
                case Failure(why=why, was_sent=was_sent):
                    wait = attempts.after_failure(was_sent=was_sent)
                    if wait is None:
                        raise Unreachable(
                            f"There is no answer from {self.url}: {why}.",
                            was_sent=was_sent,
                            request_id=request_id,
                            is_safe=call.method == "GET",
                        )
                case _:
                    raise TypeError("what came of sending must be told")
            yield Wait(wait)

    def _outgoing(self, call: Call[T], token: Token | None) -> tuple[Outgoing, str]:
        request_id = self._name("req-")
        headers = {**self._headers, "X-Request-Id": request_id, **call.headers}
        if call.content is not None:
            headers["Content-Type"] = "application/json"
        if call.wants_idempotency_key:
            headers.setdefault("Idempotency-Key", self._name(""))
        if token is not None:
            headers |= _bearer(token)
        asked = f"?{urlencode(call.query)}" if call.query else ""
        outgoing = Outgoing(
            method=call.method,
            url=f"{self.url}{call.path}{asked}",
            headers=headers,
            content=call.content,
        )
        return outgoing, request_id

    def _name(self, prefix: str) -> str:
        number = int.from_bytes(self._entropy.take(_ID_BYTES), "big")
        return prefix + encode(number, _ID_WIDTH)


def _address(url: str) -> str:
    url = url.strip()
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_bare = not (parts.query or parts.fragment or "@" in parts.netloc or holds_shape(url))
        is_plain = url.isprintable() and " " not in url and "\\" not in url
        if is_address and is_bare and is_plain and parts.port != 0:
            return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    except ValueError:
        pass
    raise ConfigurationFault(
        "The address of Keyturn must be like http://127.0.0.1:8420, with no token, user or query "
        "in it."
    )


def _refuses_token(answer: Answer) -> bool:
    return answer.status == 401 and b'"credential.invalid"' in answer.content


def _bearer(token: Token) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.reveal()}"}


def _credential(api_key: str | Token | KeySource | None) -> Token | KeySource | None:
    if api_key is None or isinstance(api_key, Token | KeySource):
        return api_key
    token = parse_token(api_key.strip())
    if token is None:
        raise ConfigurationFault(
            "The token for Keyturn is not a whole token: it is cut short, or mistyped."
        )
    return token


def _named(header: str, value: str | None, shape: re.Pattern[str], needed: str) -> dict[str, str]:
    if value is None:
        return {}
    if shape.fullmatch(value) is None or holds_shape(value):
        raise ConfigurationFault(needed)
    return {header: value}
