"""A verifier, and what it is asked, in few words."""

from uuid import UUID

from keyturn.verifier import Answer, Fill, Point, Step, Taken, Verifier
from keyturn.verifier.cache import Id
from keyturn.verifier.feed import Touched

LEASE = 5.0
KEY: Id = ("key", 7)
KEY_REF = str(UUID(int=7))
OPERATOR: Id = ("operator", 7)
TENANT = str(UUID(int=100))


def point(position: int, history: str = "a") -> Point:
    return Point(position, f"{history}{position}".encode() if position else b"")


def step(position: int, *touched: Touched, history: str = "a") -> Step:
    return Step(position, point(position, history).seal, touched)


def fill(
    position: int,
    record: str | None = "record",
    *,
    id_: Id = KEY,
    history: str = "a",
    asked_at: float = 0.0,
    is_keepable: bool = True,
) -> Fill[str]:
    return Fill(
        id=id_,
        record=record,
        workspace=TENANT,
        slot=f"{TENANT}/billing-prod",
        point=point(position, history),
        asked_at=asked_at,
        is_keepable=is_keepable,
    )


def looked(
    verifier: Verifier[str],
    *steps: Step,
    now: float = 0.0,
    granted: bool = True,
    is_all: bool = True,
) -> Taken:
    """One round that takes no time; of the first look the log ends at 3."""
    question = verifier.ask(now)
    anchor = point(3) if question.after is None else question.after
    return verifier.take(question, Answer(anchor, steps, is_all), granted=granted, now=now)


def started(now: float = 0.0) -> Verifier[str]:
    """One that has looked once, at a log that ends at 3."""
    verifier: Verifier[str] = Verifier(lease_seconds=LEASE)
    assert looked(verifier, now=now) is Taken.CAUGHT_UP
    return verifier


def found(verifier: Verifier[str], now: float = 0.0, id_: Id = KEY) -> str | None:
    kept = verifier.find(id_, now)
    assert kept is None or kept.record is not None
    return None if kept is None else kept.record
