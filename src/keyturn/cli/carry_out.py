"""Carrying a plan out: each change on its own, several at once, and what became of each.

1. A change names the version that the plan saw, or that there was none: what somebody else changed
   meanwhile is not overwritten.
2. A slot that is refused, or has moved, holds nothing else up. What would befall every other slot
   too (no answer, a token that is not valid, a fault of the server) ends it.
3. Where no answer came to a change that was sent, nobody knows whether it was made. The next plan
   sees it.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from keyturn.cli.drift import SlotChange
from keyturn.client import (
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    KeyturnClientError,
    NotUnderstood,
    Unreachable,
    VersionMoved,
)

AT_ONCE = 4


class Outcome(StrEnum):
    """What became of a change."""

    APPLIED = "applied"
    MOVED = "moved"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    NOT_TRIED = "not_tried"


@dataclass(frozen=True, slots=True)
class Result:
    """A change, what became of it, and the error that says why."""

    change: SlotChange
    outcome: Outcome
    error: KeyturnClientError | None = None


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of each change, in their order; what ended it before they were through."""

    results: Sequence[Result]
    is_interrupted: bool = False

    @property
    def stopped_by(self) -> KeyturnClientError | None:
        """The first error that ended it."""
        ended = (one.error for one in self.results if _ends(one.error))
        return next(ended, None)

    def of(self, outcome: Outcome) -> list[Result]:
        return [one for one in self.results if one.outcome is outcome]


def carry_out(
    changes: Sequence[SlotChange],
    define: Callable[[SlotChange], object],
    on_progress: Callable[[int], None],
) -> Carried:
    """Makes the changes. `on_progress` is told, in no order, how many are through. An interruption
    lets those that are on their way arrive; a second one does not wait for them."""
    results: dict[int, Result] = {}
    begun: set[int] = set()
    stop = threading.Event()

    def one(index: int) -> None:
        if not stop.is_set():
            begun.add(index)
            results[index] = _tried(changes[index], define, stop)
            on_progress(len(results))

    is_interrupted = False
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for future in [pool.submit(one, index) for index in range(len(changes))]:
            future.result()
    except KeyboardInterrupt:
        is_interrupted = True
    finally:
        stop.set()
        _end(pool)

    def result(index: int) -> Result:
        otherwise = Outcome.UNKNOWN if index in begun else Outcome.NOT_TRIED
        return results.get(index) or Result(changes[index], otherwise)

    return Carried([result(index) for index in range(len(changes))], is_interrupted)


def _end(pool: ThreadPoolExecutor) -> None:
    try:
        pool.shutdown(cancel_futures=True)
    except KeyboardInterrupt:
        pool.shutdown(wait=False)


def _tried(
    change: SlotChange, define: Callable[[SlotChange], object], stop: threading.Event
) -> Result:
    try:
        define(change)
    except KeyturnClientError as error:
        if _ends(error):
            stop.set()
        return Result(change, _outcome_of(error), error)
    return Result(change, Outcome.APPLIED)


def _outcome_of(error: KeyturnClientError) -> Outcome:
    match error:
        case VersionMoved():
            return Outcome.MOVED
        case Unreachable(was_sent=was_sent):
            return Outcome.UNKNOWN if was_sent else Outcome.NOT_TRIED
        case ApiError(status=status):
            return Outcome.REFUSED if status < 500 or status == 503 else Outcome.UNKNOWN
        case NotUnderstood():
            return Outcome.UNKNOWN
        case _:
            return Outcome.NOT_TRIED


def _ends(error: KeyturnClientError | None) -> bool:
    """Whether it would befall every other slot too."""
    return error is not None and not isinstance(
        error, VersionMoved | Forbidden | Invalid | Conflict
    )
