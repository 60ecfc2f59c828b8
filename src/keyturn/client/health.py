"""`/`, `/healthz`, `/readyz` and `/metrics`: what answers, and how it is.

What answers at the address may be anything: the token is not sent.
"""

from keyturn.client.call import Answer, Call, reading
from keyturn.client.errors import NotUnderstood
from keyturn.client.resources import About, Health, Readiness

_about = reading(About)
_health = reading(Health)
_readiness = reading(Readiness)


def look_at_server() -> Call[About]:
    """What answers at the address, and its version."""
    return Call(method="GET", path="/", is_anonymous=True, read=_about)


def look_at_health() -> Call[Health]:
    """Whether the process lives."""
    return Call(method="GET", path="/healthz", is_anonymous=True, read=_health)


def look_at_readiness() -> Call[Readiness]:
    """Whether this node can serve now; that it cannot is an answer, not an error."""
    return Call(
        method="GET",
        path="/readyz",
        is_anonymous=True,
        also_read=frozenset({503}),
        read=_readiness,
    )


def measure_server() -> Call[str]:
    """The metrics of this node, in the text that Prometheus reads."""
    return Call(method="GET", path="/metrics", is_anonymous=True, read=_text)


def _text(answer: Answer) -> str:
    if answer.headers.get("content-type", "").startswith("text/plain"):
        return answer.content.decode("utf-8", "replace")
    raise NotUnderstood(answer.status, "it has no metrics")
