"""What holds after every step, whoever was killed when: of one slot with one place.

1. The place holds nothing or one whole token of a key of this slot.
2. A key that works and was not shown is not lost to everyone: its token is at a place, or sealed in
   the outbox.
3. A place is written at most once with the same token, unless it was lost there.
4. A token that is put over that of a key that works, is the token of a key that works itself.
"""

from collections import Counter
from dataclasses import dataclass, field

from keyturn.domain.delivery import ENDED_STATES, Delivery
from keyturn.domain.key import KeyState
from keyturn.domain.token import Token
from keyturn.services.dispatch import previous_place, token_place
from tests.delivery.dock import SLOT, Dock


@dataclass(slots=True)
class Known:
    """The tokens of a slot, as the test knows them; `shown` are those that a person has."""

    tokens: dict[str, Token] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)

    def learn(self, token: Token, *, is_shown: bool = False) -> None:
        self.tokens[token.reveal()] = token
        if is_shown:
            self.shown.add(token.reveal())


def state_of(dock: Dock, token: Token) -> KeyState | None:
    """The state of its key; None where that was never made."""
    with dock.house.store.read() as reading:
        key = reading.keys.find(dock.house.workspace_id, token.id)
    return None if key is None else key.state


def sealed_in(dock: Dock, delivery: Delivery) -> set[str]:
    """What lies sealed in a delivery."""
    box = dock.house.context.strongbox
    found = set()
    for cell, place in ((delivery.token, token_place), (delivery.previous, previous_place)):
        if cell is not None:
            found.add(box.open(place(delivery), cell).decode())
    return found


def require_sound(dock: Dock, known: Known) -> None:
    """Raises `AssertionError` where one of these does not hold."""
    at_place = dock.shelf.value(SLOT)
    assert at_place is None or at_place in known.tokens, "what is at the place is whole"
    deliveries = dock.deliveries()
    sealed = {value for one in deliveries for value in sealed_in(dock, one)}
    for value, token in known.tokens.items():
        works = state_of(dock, token) in (KeyState.ACTIVE, KeyState.SUSPENDED)
        if works and value not in known.shown:
            assert value == at_place or value in sealed, "lost to everyone, and works"
    for one in deliveries:
        if one.state in ENDED_STATES:
            assert one.token is one.previous is None, "it has ended, and something is sealed in it"


def require_written_once(dock: Dock) -> None:
    count = Counter((one.place, one.value) for one in dock.shelf.written if one.place[1] == SLOT)
    assert max(count.values(), default=0) <= 1, "the same token was written twice"
