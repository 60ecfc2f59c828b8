"""Metrics for Prometheus. No label tells of a tenant, a key or an address."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


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
        self._verdicts: dict[str, Counter] = {}
        self._answers: dict[tuple[str, int], Counter] = {}

    def verified(self, code: str) -> None:
        """Counts a verdict. The child is kept: finding it costs more than counting."""
        child = self._verdicts.get(code)
        if child is None:
            child = self._verdicts[code] = self.verifications.labels(code)
        child.inc()

    def responded(self, method: str, status: int) -> None:
        """Counts an answer. Methods that we do not know are counted together."""
        known = method if method in _METHODS else "other"
        child = self._answers.get((known, status))
        if child is None:
            child = self._answers[known, status] = self.responses.labels(known, str(status))
        child.inc()

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)
