"""The keys that are not dead yet, asked for while others suspend and resume them."""

from collections.abc import Callable, Iterable
from typing import Literal

from keyturn.client.resources import Key

# A brown-out's end resumes a key, and its beginning suspends one. Whichever happens between two of
# these questions, the key is in one of the answers.
_IN_TURN: tuple[Literal["suspended", "active"], ...] = ("suspended", "active", "suspended")


def living(ask: Callable[[Literal["active", "suspended"]], Iterable[Key]]) -> list[Key]:
    """The active and the suspended keys, newest first, each as it was seen last. `ask` lists the
    keys that are in one of these states."""
    found = {key.id: key for status in _IN_TURN for key in ask(status)}
    return sorted(found.values(), key=lambda key: key.created_at, reverse=True)
