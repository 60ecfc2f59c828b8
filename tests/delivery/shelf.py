"""A place that keeps tokens, in memory: honest, with versions and compare-and-set.

    shelf = Shelf()
    shelf.manner = Down()                # from now on it fails so; `Honest()` mends it
    shelf.watch = lambda moment: ...     # told of each step of each call; may raise, or act between

Whoever has the same `address` in the configuration has the same places.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from keyturn.destinations.contract import (
    ConfigurationFault,
    Destination,
    DestinationFault,
    FaultKind,
    Held,
    Opening,
)
from keyturn.domain.slot import SlotName

PASSWORD = "a shelf's password"

Place = tuple[str, SlotName]


@dataclass(frozen=True, slots=True)
class Moment:
    """A step of a call: before what it does is done, or after."""

    call: str  # open, read, write, close
    is_after: bool
    place: Place | None = None
    value: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Written:
    """A write that had an effect."""

    place: Place
    value: str = field(repr=False)
    instead_of: str | None = field(repr=False)


class Shelf:
    """The kind of destination, and all the places of it."""

    name = "shelf"
    about = "A shelf"

    def __init__(self) -> None:
        self.places: dict[Place, Held] = {}
        self.written: list[Written] = []
        self.read_count = 0
        self.manner: Manner = Honest()
        self.watch: Callable[[Moment], None] = _look_away
        self._versions = count(1)

    def check(
        self, config: Mapping[str, object], credential: Mapping[str, str]
    ) -> Mapping[str, object]:
        if set(config) - {"address"}:
            raise ConfigurationFault(("/config", "There is nothing else to say."))
        if credential.get("password") is None:
            raise ConfigurationFault(("/credential/password", "This is needed."))
        return {"address": str(config.get("address", "shelf"))}

    def open(self, opening: Opening) -> Destination:
        self.watch(Moment("open", is_after=False))
        self.manner.open()
        is_known = opening.credential["password"] == PASSWORD
        return Opened(self, str(opening.config["address"]), is_known=is_known)

    # --- what a place is, whoever asks -----------------------------------------------------------

    def held(self, place: Place) -> Held | None:
        return self.places.get(place)

    def put(self, place: Place, value: str | None) -> None:
        """Puts something there, or takes it away, behind Keyturn's back."""
        if value is None:
            self.places.pop(place, None)
        else:
            self.places[place] = Held(value=value, version=f"v{next(self._versions)}")

    def write(self, place: Place, value: str, expected: str | None) -> str:
        held = self.held(place)
        if (None if held is None else held.version) != expected:
            raise DestinationFault(FaultKind.CONFLICT, "Somebody else has written meanwhile.")
        self.put(place, value)
        self.written.append(Written(place, value, None if held is None else held.value))
        return self.places[place].version

    def value(self, slot: SlotName, address: str = "shelf") -> str | None:
        held = self.held((address, slot))
        return None if held is None else held.value


def _look_away(_: Moment) -> None:
    """Nobody watches."""


class Opened:
    """One opened destination."""

    def __init__(self, shelf: Shelf, address: str, *, is_known: bool) -> None:
        self._shelf = shelf
        self._address = address
        self._is_known = is_known

    def read(self, slot: SlotName) -> Held | None:
        place = (self._address, slot)
        self._require_known()
        self._shelf.watch(Moment("read", is_after=False, place=place))
        self._shelf.read_count += 1
        held = self._shelf.manner.read(self._shelf, place)
        self._shelf.watch(Moment("read", is_after=True, place=place))
        return held

    def write(self, slot: SlotName, value: str, expected: str | None) -> str:
        place = (self._address, slot)
        self._require_known()
        self._shelf.watch(Moment("write", is_after=False, place=place, value=value))
        version = self._shelf.manner.write(self._shelf, place, value, expected)
        self._shelf.watch(Moment("write", is_after=True, place=place, value=value))
        return version

    def locate(self, slot: SlotName) -> str:
        return f"{self._address}/{slot}"

    def close(self) -> None:
        self._shelf.watch(Moment("close", is_after=False))
        self._shelf.manner.close()

    def _require_known(self) -> None:
        if not self._is_known:
            raise DestinationFault(FaultKind.DENIED, "The shelf does not know this password.")


class Manner:
    """How a shelf behaves; honestly, where nothing else is said."""

    def open(self) -> None:
        """Nothing is in the way."""

    def close(self) -> None:
        """Nothing is in the way."""

    def read(self, shelf: Shelf, place: Place) -> Held | None:
        return shelf.held(place)

    def write(self, shelf: Shelf, place: Place, value: str, expected: str | None) -> str:
        return shelf.write(place, value, expected)


class Honest(Manner):
    """As it should be."""
