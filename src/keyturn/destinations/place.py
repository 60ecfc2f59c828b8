"""The pattern of a place: where in a secrets manager each slot has its own, `keyturn/{slot}`.

A pattern names the slot, so that two slots of a destination never share a place.
"""

import re

from keyturn.domain.slot import RESERVED, SlotName

DEFAULT_PATTERN = "keyturn/{slot}"

# Where a destination keeps the mark that says whose it is. No slot is called so.
MARK = RESERVED

_MEMBER = re.compile(r"\{([a-z]*)\}")
# Else `a` in `bc` and `ab` in `c` were one place.
_PARTED = re.compile(
    r"\{service\}[^{}]*[^{}A-Za-z0-9][^{}]*\{environment\}"
    r"|\{environment\}[^{}]*[^{}A-Za-z0-9][^{}]*\{service\}"
)
_NAMES = frozenset({"slot", "service", "environment"})


def pattern_fault(pattern: str, allowed: re.Pattern[str]) -> str | None:
    """What is wrong with a pattern, None for nothing. `allowed` matches what may stand around the
    members, as a whole."""
    named = _MEMBER.findall(pattern)
    if any(name not in _NAMES for name in named):
        return "A place may name {slot}, {service} and {environment}, and nothing else."
    if "slot" not in named and _PARTED.search(pattern) is None:
        return (
            "Name {slot} in it, or {service} and {environment} with more than letters and digits "
            "between them: each slot has a place of its own."
        )
    if allowed.fullmatch(_MEMBER.sub("", pattern)) is None:
        return "It has characters that a place of this kind cannot have."
    return None


def place_of(pattern: str, slot: SlotName) -> str:
    """The slot's own place. The parts of a slot's name are of a-z, 0-9 and `-`."""
    parts = {"slot": str(slot), "service": slot.service, "environment": slot.environment}
    return _MEMBER.sub(lambda match: parts[match.group(1)], pattern)
