"""Every way in which a destination fails or lies, each as a manner of a shelf."""

from typing import NoReturn

from keyturn.destinations.contract import DestinationFault, FaultKind, Held
from tests.delivery.shelf import Manner, Place, Shelf


class Refuses(Manner):
    """Each call fails, in one way."""

    def __init__(self, kind: FaultKind) -> None:
        self._kind = kind

    def read(self, shelf: Shelf, place: Place) -> Held | None:
        self.fail()

    def write(
        self,
        shelf: Shelf,
        place: Place,
        value: str,
        expected: str | None,
    ) -> str:
        self.fail()

    def fail(self) -> NoReturn:
        raise DestinationFault(self._kind, "The shelf failed as it was told to.")


class RefusesToOpen(Refuses):
    def open(self) -> None:
        self.fail()


class RefusesToWrite(Refuses):
    """It can be read, and not written."""

    def read(self, shelf: Shelf, place: Place) -> Held | None:
        return shelf.held(place)


class FailsAfterTheWrite(Refuses):
    """What was written is there, and the answer is that it failed. Nor is it read back."""

    def __init__(self, kind: FaultKind) -> None:
        super().__init__(kind)
        self._has_written = False

    def read(self, shelf: Shelf, place: Place) -> Held | None:
        if self._has_written:
            self.fail()
        return shelf.held(place)

    def write(self, shelf: Shelf, place: Place, value: str, expected: str | None) -> str:
        self._has_written = True
        shelf.write(place, value, expected)
        self.fail()


class FailsWhenReadBack(FailsAfterTheWrite):
    """What was written is there, and cannot be read."""

    def write(self, shelf: Shelf, place: Place, value: str, expected: str | None) -> str:
        self._has_written = True
        return shelf.write(place, value, expected)


class StoresNothing(Manner):
    """It says that it has written."""

    def write(
        self,
        shelf: Shelf,
        place: Place,
        value: str,
        expected: str | None,
    ) -> str:
        return "v0"


class StoresSomethingElse(Manner):
    def write(self, shelf: Shelf, place: Place, value: str, expected: str | None) -> str:
        return shelf.write(place, value[::-1], expected)


class StoresHalf(Manner):
    def write(self, shelf: Shelf, place: Place, value: str, expected: str | None) -> str:
        return shelf.write(place, value[: len(value) // 2], expected)


class AddsASpace(Manner):
    def write(self, shelf: Shelf, place: Place, value: str, expected: str | None) -> str:
        return shelf.write(place, f"{value} ", expected)


class AnswersFromBefore(Manner):
    """A copy that is behind: it reads what was there before the last write."""

    def __init__(self) -> None:
        self._copy: dict[Place, Held | None] = {}

    def read(self, shelf: Shelf, place: Place) -> Held | None:
        return self._copy.setdefault(place, shelf.held(place))


class TellsOnceWhatWasWritten(Manner):
    """It stores nothing, and gives back what was written just once: then the old one."""

    def __init__(self) -> None:
        self._told: Held | None = None

    def read(self, shelf: Shelf, place: Place) -> Held | None:
        told, self._told = self._told, None
        return shelf.held(place) if told is None else told

    def write(
        self,
        shelf: Shelf,
        place: Place,
        value: str,
        expected: str | None,
    ) -> str:
        self._told = Held(value=value, version="v0")
        return "v0"


class SaysItIsEmpty(Manner):
    """It stores what it is given, and shows nothing."""

    def read(self, shelf: Shelf, place: Place) -> Held | None:
        return None


class SpeaksNoText(Manner):
    """What it reads cannot be spelled in UTF-8."""

    def read(self, shelf: Shelf, place: Place) -> Held | None:
        return Held(value="\ud800", version="v0")


class Breaks(Manner):
    """It fails as no destination may, with what it was given in the fault."""

    def write(
        self,
        shelf: Shelf,
        place: Place,
        value: str,
        expected: str | None,
    ) -> str:
        raise RuntimeError(f"cannot write {value}")


class ClosesBadly(Manner):
    """What it did is done. It does not keep a delivery from being done either."""

    def close(self) -> None:
        raise DestinationFault(FaultKind.BROKEN, "The shelf does not close.")


# In each of these nothing, or something else, is where the new token should be; or nobody can know.
FAILING: dict[str, tuple[type[Manner], tuple[FaultKind, ...]]] = {
    "it is down": (Refuses, (FaultKind.UNREACHABLE,)),
    "it is slow": (Refuses, (FaultKind.TIMED_OUT,)),
    "its address is refused": (Refuses, (FaultKind.ADDRESS_REFUSED,)),
    "it denies us": (Refuses, (FaultKind.DENIED,)),
    "its folder is gone": (Refuses, (FaultKind.MISSING,)),
    "it answers with garbage": (Refuses, (FaultKind.NOT_UNDERSTOOD,)),
    "it answers that it failed": (Refuses, (FaultKind.BROKEN,)),
    "it cannot be opened": (RefusesToOpen, (FaultKind.MISSING,)),
    "it can be read alone": (RefusesToWrite, (FaultKind.DENIED,)),
    "somebody else writes each time": (RefusesToWrite, (FaultKind.CONFLICT,)),
    "it stores nothing": (StoresNothing, ()),
    "it stores something else": (StoresSomethingElse, ()),
    "it stores half": (StoresHalf, ()),
    "it adds a space": (AddsASpace, ()),
    "it answers from before": (AnswersFromBefore, ()),
    "it says that it is empty": (SaysItIsEmpty, ()),
    "it speaks no text": (SpeaksNoText, ()),
    "it breaks": (Breaks, ()),
    "it fails after the write": (FailsAfterTheWrite, (FaultKind.BROKEN,)),
    "it is slow after the write": (FailsAfterTheWrite, (FaultKind.TIMED_OUT,)),
    "it fails when it is read back": (FailsWhenReadBack, (FaultKind.UNREACHABLE,)),
}
# The new token is there in truth, though nobody can know it yet.
IS_THERE = {
    "it fails after the write",
    "it is slow after the write",
    "it fails when it is read back",
    "it answers from before",
    "it says that it is empty",
}


def behave(name: str) -> Manner:
    kind, arguments = FAILING[name]
    return kind(*arguments)
