"""The headers of a request, as whoever asks about it tells them.

An object of texts is what is meant. A gateway that tells them in another way, as lists or as pairs,
is not refused for it: what is understood is looked at, the rest is not.
"""

from collections.abc import Iterable

LOOKED_AT = frozenset({"user-agent", "origin", "sec-fetch-site", "sec-fetch-dest"})


def headers_in(told: object) -> dict[str, str]:
    """Those that are looked at, by their names in lower case; the first of each."""
    pairs: Iterable[object] = told.items() if isinstance(told, dict) else ()
    if isinstance(told, list):
        pairs = told
    found: dict[str, str] = {}
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            continue
        name, value = pair
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(name, str) and isinstance(value, str) and name.lower() in LOOKED_AT:
            found.setdefault(name.lower(), value)
    return found
