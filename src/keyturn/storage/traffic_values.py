"""Which values the table of traffic has, as this process knows it: so that recording need not ask.

It is only for the bound on the values of an hour: which rows there are is the database's own to
know. A value that a failed transaction did not keep only takes room, and what was forgotten is read
again.
"""

MOST_KNOWN = 500_000

Spot = tuple[str, int]  # a key, an hour


class TrafficValues:
    """The values of those hours that were written to last, as hashes."""

    def __init__(self) -> None:
        self._known: dict[Spot, dict[str, set[int]]] = {}
        self._size = 0

    def of(self, spot: Spot) -> dict[str, set[int]] | None:
        """The values by facet, None where they are not known."""
        return self._known.get(spot)

    def learn(self, spot: Spot, facet: str, value: str) -> None:
        found = self._known.setdefault(spot, {}).setdefault(facet, set())
        before = len(found)
        found.add(hash(value))
        self._size += len(found) - before

    def make_room(self, spots: int) -> None:
        """Forgets everything where there is much of it. `spots` more are about to be learned."""
        if self._size + len(self._known) + spots > MOST_KNOWN:
            self._known = {}
            self._size = 0

    def begin(self, spot: Spot) -> dict[str, set[int]]:
        """An hour of which nothing else is there than what is learned from now on."""
        return self._known.setdefault(spot, {})
