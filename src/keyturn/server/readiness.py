"""Readiness: whether this node can serve now, looked up once in a while however many ask."""

import threading

from keyturn.domain.error import IntegrityFailed, KeyturnError, StorageUnavailable
from keyturn.http.desk import Readiness
from keyturn.services.context import Context

READY_SECONDS = 1.0
READY_AT_MOST_SECONDS = 5.0


class ReadinessCheck:
    """Looks once in a while, however many ask: anybody may.

    Who asks while somebody else looks is given the last outcome, for as long as it is of use.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._turn = threading.Lock()
        self._last: tuple[float, Readiness] | None = None

    def __call__(self) -> Readiness:
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
