"""When a follower asks again, and how long it waits for an answer."""

import enum

from keyturn.verifier.verifier import Taken

_SHORTEST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 0.5


class Next(enum.Enum):
    """What a follower does after an answer."""

    AT_ONCE = "at_once"
    AFTER_POLL = "after_poll"
    AFTER_PAUSE = "after_pause"  # as after a failure
    NEVER = "never"


def what_next(taken: Taken, *, has_moved: bool, is_hurried: bool, has_reported: bool) -> Next:
    """`has_moved`: the answer moved `applied`, which is to be confirmed by the next report: others
    wait for that. `is_hurried`: a hint came meanwhile, or somebody read further than this node has.
    `has_reported`: the look was part of a round. One that a hint brought about is followed by a
    round at once: it took the place of the next one, and hints that come again and again would put
    that off until the lease is over."""
    if taken is Taken.FORKED:
        return Next.NEVER
    if taken is Taken.MORE or has_moved or is_hurried or not has_reported:
        return Next.AT_ONCE
    return Next.AFTER_PAUSE if taken is Taken.GAP else Next.AFTER_POLL


def poll_seconds(lease_seconds: float) -> float:
    return min(lease_seconds / 10, 0.5)


def statement_seconds(lease_seconds: float) -> float:
    """How long one statement may take. A longer lease does not make it longer: a link that has
    healed is used again within two seconds, also where the last question on it was lost."""
    return min(max(lease_seconds / 4, 0.25), 1.5)


def pause_seconds(failures: int, spent_seconds: float) -> float:
    """How long to wait after so many failures in a row, of which the last took `spent_seconds`.
    Counted from its beginning: who has waited for an answer in vain has waited enough."""
    longest = min(_SHORTEST_PAUSE_SECONDS * 2.0 ** min(failures, 10), _LONGEST_PAUSE_SECONDS)
    return max(0.0, longest - spent_seconds)
