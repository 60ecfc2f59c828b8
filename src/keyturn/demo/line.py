"""A line of the final table."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`fault` is the sentence of a figure that is wrong, None for one that holds; a figure that
    `must_hold` nothing is only shown."""

    title: str
    value: str
    must_hold: bool = True
    fault: str | None = None


def requests(number: int) -> str:
    return f"{number:,} request{'' if number == 1 else 's'}"


def first(*cases: tuple[object, str]) -> str | None:
    """The sentence of the first case that is so."""
    return next((sentence for is_wrong, sentence in cases if is_wrong), None)
