"""What a node verifies by, when several serve one database. No I/O: see `verifier.py`."""

from keyturn.verifier.barrier import (
    Through,
    Waiting,
    how_through,
    is_through,
    may_grant,
    over_at,
)
from keyturn.verifier.cache import Id, Kept, id_of
from keyturn.verifier.feed import MOST_STEPS, Answer, Question, Step, Touched
from keyturn.verifier.lease import RATE_ERROR, reckoned_micros
from keyturn.verifier.pace import (
    Next,
    pause_seconds,
    poll_seconds,
    statement_seconds,
    what_next,
)
from keyturn.verifier.point import ORIGIN, Point
from keyturn.verifier.verifier import (
    KEEP_SECONDS,
    Admission,
    Fill,
    Standing,
    Taken,
    Verifier,
)

__all__ = [
    "KEEP_SECONDS",
    "MOST_STEPS",
    "ORIGIN",
    "RATE_ERROR",
    "Admission",
    "Answer",
    "Fill",
    "Id",
    "Kept",
    "Next",
    "Point",
    "Question",
    "Standing",
    "Step",
    "Taken",
    "Through",
    "Touched",
    "Verifier",
    "Waiting",
    "how_through",
    "id_of",
    "is_through",
    "may_grant",
    "over_at",
    "pause_seconds",
    "poll_seconds",
    "reckoned_micros",
    "statement_seconds",
    "what_next",
]
