"""When a call is sent again, and after how long. No I/O: the faces tell what happened and wait.

1. Only what may be repeated is: a GET, a PUT, a DELETE, a verification, a POST with its
   `Idempotency-Key`. What never left (no connection) is always sent again.
2. The wait grows twofold from `backoff_seconds`, at random between nothing and that ("full jitter":
   callers that failed together do not come back together), and is never shorter than
   `Retry-After`, which may be seconds or a date (RFC 9110, 10.2.3).
3. After `most_attempts`, or where the next wait would pass `patience_seconds`, the last outcome
   stands.
"""

import math
from dataclasses import dataclass
from datetime import UTC

from keyturn.client.call import Answer
from keyturn.client.errors import ConfigurationFault
from keyturn.domain.ambience import Clock, Entropy

_MICROSECONDS = 1_000_000
# 408: the body came too late. 409: only while the first call with this idempotency key runs.
_RETRIED = frozenset({408, 429, 502, 503, 504})
_LONGEST_WAIT_SECONDS = 5.0
_LONGEST_TOLD_SECONDS = 1e9
_MOST_DOUBLINGS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and how long at most, a call is tried: by itself long enough for a server that is
    started anew."""

    most_attempts: int = 12
    backoff_seconds: float = 0.1
    patience_seconds: float = 10.0

    def __post_init__(self) -> None:
        times = (self.backoff_seconds, self.patience_seconds)
        if self.most_attempts < 1 or not all(math.isfinite(one) and one >= 0 for one in times):
            raise ConfigurationFault(
                "A call is tried once at least, and its waits are seconds of 0 and more."
            )


NO_RETRY = RetryPolicy(most_attempts=1)


class Attempts:
    """The attempts of one call, which `may_repeat` or not."""

    def __init__(
        self, policy: RetryPolicy, clock: Clock, entropy: Entropy, *, may_repeat: bool
    ) -> None:
        self._may_repeat = may_repeat
        self._policy = policy
        self._clock = clock
        self._entropy = entropy
        self._began = clock.elapsed()
        self._made = 0

    def after_answer(self, answer: Answer) -> float | None:
        """Seconds to wait until it is sent again, or None: this answer stands."""
        self._made += 1
        if not self._may_repeat or not self._is_passing(answer):
            return None
        return self._wait(self.retry_after_seconds(answer) or 0.0)

    def after_failure(self, *, was_sent: bool) -> float | None:
        """Seconds to wait until it is sent again, or None: there is no answer to be had."""
        self._made += 1
        if was_sent and not self._may_repeat:
            return None
        return self._wait(0.0)

    def retry_after_seconds(self, answer: Answer) -> float | None:
        """What `Retry-After` says, None where it says nothing that can be read."""
        told = answer.headers.get("retry-after", "").strip()
        if told.isascii() and told.isdecimal():
            return min(float(told), _LONGEST_TOLD_SECONDS)
        # Loaded where it is needed: it would be a good part of the whole client's import.
        from email.utils import parsedate_to_datetime

        try:
            moment = parsedate_to_datetime(told)
            if moment.tzinfo is None:  # such a date is in GMT, whatever the zone of this machine
                moment = moment.replace(tzinfo=UTC)
            return max(0.0, moment.timestamp() - self._clock.now() / _MICROSECONDS)
        except (ValueError, OverflowError):
            return None

    def _is_passing(self, answer: Answer) -> bool:
        if answer.status == 409:
            return b'"idempotency.running"' in answer.content
        return answer.status in _RETRIED

    def _wait(self, least_seconds: float) -> float | None:
        policy = self._policy
        if self._made >= policy.most_attempts:
            return None
        doublings = min(self._made - 1, _MOST_DOUBLINGS)
        ceiling = min(_LONGEST_WAIT_SECONDS, policy.backoff_seconds * 2**doublings)
        share = int.from_bytes(self._entropy.take(4), "big") / 2**32
        wait = least_seconds + ceiling * share
        passed = self._clock.elapsed() - self._began
        return None if passed + wait > policy.patience_seconds else wait
