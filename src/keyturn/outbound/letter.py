"""What may be asked of the mail server.

1. A letter is plain text to one address. Nothing in it can end a header and begin another.
2. `message_id` is the same each time that a letter is sent, so that a repetition can be told.
3. What the server says is never repeated: faults carry sentences of our own.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One mail. `at` is the time that it says, in microseconds; `message_id` a word of letters,
    digits, dots and dashes, which the postbox makes one of its domain."""

    recipient: str
    subject: str
    text: str = field(repr=False)
    message_id: str
    at: int


class LetterFaultKind(StrEnum):
    REFUSED = "refused"  # for good: an address, or the sender
    BUSY = "busy"  # for now
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    NOT_UNDERSTOOD = "not_understood"


class LetterFault(Exception):
    """Why a letter was not taken. `status` is the class of the server's answer, like `5xx`."""

    def __init__(self, kind: LetterFaultKind, detail: str, *, status: str | None = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.status = status


class Postbox(Protocol):
    def post(self, letter: Letter) -> None:
        """Gives the letter to the mail server, which has taken it then. Raises `LetterFault`."""
        ...
