"""What the suite's user gives: a way past a destination to the place itself."""

from collections.abc import Mapping
from typing import Protocol

from keyturn.domain.slot import SlotName

ONE = SlotName(service="scheduler", environment="prod")
OTHER = SlotName(service="scheduler-prod", environment="eu")
THIRD = SlotName(service="scheduler", environment="prodeu")

# As long and as spelled as a token, and none.
FIRST_VALUE = "not_a_token_0123456789abcdefghijklmnopqrstuvwxyz_first"
SECOND_VALUE = "not_a_token_0123456789abcdefghijklmnopqrstuvwxyz_second"
THIRD_VALUE = "not_a_token_0123456789abcdefghijklmnopqrstuvwxyz_third"
VALUES = (FIRST_VALUE, SECOND_VALUE, THIRD_VALUE)


class Behind(Protocol):
    """As a person sees and changes a place with its own tools."""

    def value(self, slot: SlotName) -> str | None:
        """What the slot's place holds, None for nothing."""
        ...

    def put(self, slot: SlotName, value: str) -> None:
        """Somebody else writes; what else the place holds stays."""
        ...

    def remove(self, slot: SlotName) -> None:
        """Somebody takes the whole place away, as its own tools do by default."""
        ...

    def beside(self, slot: SlotName) -> Mapping[str, str] | None:
        """What else the place holds; None where it can hold nothing else."""
        ...

    def put_beside(self, slot: SlotName, name: str, text: str) -> None:
        """Adds something else to the place; with no value in it, where it has none."""
        ...
