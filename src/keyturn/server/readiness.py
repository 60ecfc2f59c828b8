"""Readiness: whether this node can serve now, looked up once in a while however many ask.

Whether its verifier may answer costs nothing to know, and may be over at any moment: that is looked
at each time.
"""

import threading
from collections.abc import Callable
from dataclasses import replace

from keyturn.domain.error import IntegrityFailed, KeyturnError, StorageUnavailable
from keyturn.http.desk import Readiness
from keyturn.services.context import Context

READY_SECONDS = 1.0
READY_AT_MOST_SECONDS = 5.0


class ReadinessCheck:
    """Looks once in a while, however many ask: anybody may.

    Who asks while somebody else looks is given the last outcome, for as long as it is of use.
    """

    def __init__(
        self, context: Context, fault_of_verifier: Callable[[], str | None] | None = None
    ) -> None:
        self._context = context
        self._fault_of_verifier = fault_of_verifier
        self._turn = threading.Lock()
        self._last: tuple[float, Readiness] | None = None

    def __call__(self) -> Readiness:
        readiness = self._readiness()
        if self._fault_of_verifier is None:
            return readiness
        fault = self._fault_of_verifier()
        return replace(
            readiness,
            is_ready=readiness.is_ready and fault is None,
            checks={**readiness.checks, "verifier": fault or "ok"},
        )

    def _readiness(self) -> Readiness:
        if self._turn.acquire(timeout=-1 if self._last is None else 0):
            try:
                return self._recent(READY_SECONDS) or self._look()
            finally:
                self._turn.release()
        return self._recent(READY_AT_MOST_SECONDS) or Readiness(
            is_ready=False,
            checks={"database": "unavailable", "log": "unknown", "peppers": "unknown"},
        )

    def _recent(self, seconds: float) -> Readiness | None:
        last = self._last
        is_recent = last is not None and self._context.clock.elapsed() - last[0] < seconds
        return last[1] if last is not None and is_recent else None

    def _look(self) -> Readiness:
        readiness = check_readiness(self._context)
        self._last = (self._context.clock.elapsed(), readiness)
        return readiness


def check_readiness(context: Context) -> Readiness:
    """Whether the database answers, the head of its log is sound, and each pepper is there."""
    checks = {"database": "ok", "log": "ok", "peppers": "ok"}
    try:
        context.store.ping()
        with context.store.read() as transaction:
            transaction.head()
        checks["log"] = context.store.memory.fault or "ok"
        checks["peppers"] = _find_lack(context) or "ok"
    except StorageUnavailable:
        checks["database"] = "unavailable"
        checks["log"] = checks["peppers"] = "unknown"
    except KeyturnError as error:
        checks["log"] = error.detail
    return Readiness(is_ready=all(word == "ok" for word in checks.values()), checks=checks)


def _find_lack(context: Context) -> str | None:
    """What the file of the root secret lacks, or None."""
    try:
        with context.store.read() as transaction:
            installation = transaction.installation.find()
    except IntegrityFailed as error:
        return error.detail
    recorded = {} if installation is None else installation.pepper_fingerprints
    for version, fingerprint in recorded.items():
        if context.ring.fingerprint(version) != fingerprint:
            return f"The file of the root secret lacks pepper {version}."
    return None
