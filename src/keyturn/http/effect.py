"""When what a call took away is effective everywhere: how long it waits for that, and what it says.

The wait begins once the handler's thread is given back, and what was noted of the call is noted: it
holds up neither other calls nor evidence. What is waited for is committed, so a caller that hangs
up meanwhile loses nothing.
"""

import re
from collections.abc import Iterable
from typing import Any

from fastapi import Response

from keyturn.domain.error import KeyturnError
from keyturn.domain.instant import format_instant
from keyturn.http.desk import Desk
from keyturn.http.sight import Propagation

PROPAGATION = "Keyturn-Propagation"
EFFECTIVE_BY = "Keyturn-Effective-By"
WITHIN_SECONDS = 10.0

RESPOND_ASYNC = "respond-async"
# What a route declares that takes something away (`guard`).
EFFECT = "x-keyturn-effect"

_PENDING = 202
_LONGEST = 1_000
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def prefers_async(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the caller would rather be answered before it is effective (RFC 7240, 4.1). Other
    preferences are ignored, as they may be."""
    lines = [value for name, value in headers if name == b"prefer"]
    text = b",".join(lines)[:_LONGEST].decode("latin-1")
    # A quoted value may hold a comma.
    for preference in _QUOTED.sub('""', text).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == RESPOND_ASYNC and value.strip() in ("", '""'):
            return True
    return False


async def effective(
    desk: Desk, response: Response, grace_seconds: int, *, is_async: bool
) -> Response:
    """The answer of a change once it is effective everywhere; as accepted (202), with when it will
    be, where that takes too long or the caller would not wait."""
    try:
        within = 0.0 if is_async else WITHIN_SECONDS
        reached = await desk.sight.effective(grace_seconds, within)
    except KeyturnError:
        # The change stands; how far it has got is not known now. To fail would tell otherwise.
        reached = None
    headers = response.headers
    effective_by = None if reached is None else reached.effective_by
    if reached is not None and reached.state == "complete":
        headers[PROPAGATION] = _spelled(reached)
        if not is_async:
            return response
        effective_by = desk.context.clock.now()
    response.status_code = _PENDING
    if is_async:
        headers["Preference-Applied"] = RESPOND_ASYNC
    if effective_by is not None:
        headers[EFFECTIVE_BY] = format_instant(effective_by)
    if not response.body:
        headers["Content-Length"] = "0"  # which a 204 does not have
    return response


def _spelled(reached: Propagation) -> str:
    expired = f"; expired={reached.expired}" if reached.expired else ""
    return f"complete; nodes={reached.nodes}; ms={reached.took_ms}{expired}"


def declare(operation: dict[str, Any]) -> None:
    """Tells in the OpenAPI document what a call that takes something away may answer, and that it
    need not be waited for."""
    responses = operation["responses"]
    done = next(status for status in responses if status.startswith("2"))
    for status, answer in responses.items():
        if status.startswith("2"):
            answer["headers"] = answer.get("headers", {}) | {PROPAGATION: _HEADER}
    pending = dict(responses.get(str(_PENDING), responses[done]))
    told = f"{pending['description']}; or it" if str(_PENDING) in responses else "It"
    pending["description"] = f"{told} is done, and effective everywhere by the time that is told"
    pending["headers"] = {PROPAGATION: _HEADER, **_HEADERS_OF_PENDING}
    responses[str(_PENDING)] = pending
    operation["parameters"] = [*operation.get("parameters", []), _PREFER]


def _header(description: str, **keywords: object) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string", **keywords}}


_HEADER = _header(
    "It is effective on every verifier: on how many, and after how long. `expired` is how many of "
    "them were counted out, since they accept nothing any more."
)
_HEADERS_OF_PENDING = {
    EFFECTIVE_BY: _header("From then on no verifier goes by what was before.", format="date-time"),
    "Preference-Applied": _header(f"`{RESPOND_ASYNC}` where that was preferred."),
}
_PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": f"`{RESPOND_ASYNC}`: it is answered (202) without waiting until it is effective "
    f"on every verifier. Else it is waited for, {WITHIN_SECONDS:.0f} s at most.",
    "schema": {"type": "string", "examples": [RESPOND_ASYNC]},
}
