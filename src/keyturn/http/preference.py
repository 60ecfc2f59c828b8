"""Which of our media types a caller prefers, by `Accept` (RFC 9110, 12.5.1)."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

Kind = TypeVar("Kind")
_MOST = 50


def preferred(lines: Sequence[str], kinds: Mapping[str, Kind]) -> Kind:
    """The kind whose media type is preferred; of equals, and where none is named, the first."""
    ranges = [one for line in lines for one in line.lower().split(",")][:_MOST]
    weights = [_weighed(one) for one in ranges]
    best, most = next(iter(kinds.values())), 0.0
    for media_type, kind in kinds.items():
        weight = _weight(media_type, weights)
        if weight > most:
            best, most = kind, weight
    return best


def _weight(media_type: str, weights: Sequence[tuple[str, float]]) -> float:
    """That of the narrowest range that the type is in."""
    found = dict(weights)
    for name in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if name in found:
            return found[name]
    return 0.0


def _weighed(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in text.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return name, min(max(float(parameter[2:]), 0.0), 1.0)
            except ValueError:
                return name, 0.0
    return name, 1.0
