"""Metrics for Prometheus. No label tells of a tenant, a key or an address."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierFigures:
    """How a node's verifier stands: for how long it may answer yet (0 where it may not), how far it
    has come in the log, and how many look-ups found a record that was `kept`, or had it `filled`
    from the database."""

    lease_seconds: float
    applied_position: int
    kept: int
    filled: int


# In seconds: a round trip or two where all is well, the length of a lease where a node is cut off.
PROPAGATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The counters of one node, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.verifications = Counter(
            "keyturn_verifications",
            "Verdicts given by /v1/verify.",
            ["code"],
            registry=self._registry,
        )
        self.responses = Counter(
            "keyturn_http_responses",
            "Answers given, by method and status.",
            ["method", "status"],
            registry=self._registry,
        )
        self.duration = Histogram(
            "keyturn_http_duration_seconds",
            "Time from a request's headers to its answer, verifications left out.",
            registry=self._registry,
        )
        self.refused_credentials = Counter(
            "keyturn_credentials_refused",
            "Calls refused for their credential.",
            ["code"],
            registry=self._registry,
        )
        self.waiting_requests = Gauge(
            "keyturn_requests_waiting",
            "Requests noted and not yet recorded.",
            registry=self._registry,
        )
        self.recorded_requests = Counter(
            "keyturn_requests_recorded", "Requests recorded.", registry=self._registry
        )
        self.open_rotations = Gauge(
            "keyturn_rotations_open",
            "Rotations that have not ended, as the node that acts sees them.",
            registry=self._registry,
        )
        self.open_incidents = Gauge(
            "keyturn_incidents_open",
            "Incidents that are not closed, as the node that acts sees them.",
            registry=self._registry,
        )
        self.open_deliveries = Gauge(
            "keyturn_deliveries_open",
            "New tokens that are on their way to a destination, or old ones on their way back.",
            registry=self._registry,
        )
        self.failing_deliveries = Gauge(
            "keyturn_deliveries_failing",
            "Those of the open deliveries whose last attempt failed.",
            registry=self._registry,
        )
        self.damage = Gauge(
            "keyturn_integrity_failures",
            "Reads of stored rows that failed their integrity check, since the start.",
            registry=self._registry,
        )
        self.propagation = Histogram(
            "keyturn_revocation_propagation_seconds",
            "From a change to when a node was known to go by it, of changes that take something "
            "away and of probes, as the node that waited saw it.",
            ["node"],
            buckets=PROPAGATION_BUCKETS,
            registry=self._registry,
        )
        self._verdicts: dict[str, Counter] = {}
        self._answers: dict[tuple[str, int], Counter] = {}

    def verified(self, code: str) -> None:
        """Counts a verdict. The child is kept: finding it costs more than counting."""
        child = self._verdicts.get(code)
        if child is None:
            child = self._verdicts[code] = self.verifications.labels(code)
        child.inc()

    def propagated(self, node: str, seconds: float) -> None:
        """Notes after how long a node was known to go by a change."""
        self.propagation.labels(node).observe(seconds)

    def responded(self, method: str, status: int) -> None:
        """Counts an answer. Methods that we do not know are counted together."""
        known = method if method in _METHODS else "other"
        child = self._answers.get((known, status))
        if child is None:
            child = self._answers[known, status] = self.responses.labels(known, str(status))
        child.inc()

    def watch_verifier(self, figures: Callable[[], VerifierFigures]) -> None:
        """Tells of the node's verifier too. It is asked when somebody reads, so that a look-up
        costs no more for being counted."""
        self._registry.register(_VerifierCollector(figures))

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)


class _VerifierCollector(Collector):
    def __init__(self, figures: Callable[[], VerifierFigures]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        figures = self._figures()
        yield GaugeMetricFamily(
            "keyturn_verifier_lease_seconds",
            "For how long this node may verify yet, without hearing from the database.",
            figures.lease_seconds,
        )
        yield GaugeMetricFamily(
            "keyturn_verifier_applied_position",
            "The position of the log that this node has come to.",
            figures.applied_position,
        )
        lookups = CounterMetricFamily(
            "keyturn_verifier_lookups",
            "Look-ups of keys to be verified: kept here, or filled from the database.",
            labels=["outcome"],
        )
        lookups.add_metric(["kept"], figures.kept)
        lookups.add_metric(["filled"], figures.filled)
        yield lookups
