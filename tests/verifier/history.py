"""What was true when, and whether what was let in keeps to the promise."""

import math
from collections.abc import Iterable

from keyturn.verifier.lease import STRETCH


class State:
    """What a key, a workspace or an operator was from one change to the next."""

    __slots__ = ("answered_at", "is_allowed", "lost_at", "ref", "superseded_at")

    def __init__(self, ref: tuple[str, int], *, is_allowed: bool) -> None:
        self.ref = ref
        self.is_allowed = is_allowed
        # When the change that put an end to it was committed, and when whoever had made that was
        # told that it is in effect everywhere.
        self.superseded_at = math.inf
        self.answered_at = math.inf
        # When a failover made it never have been.
        self.lost_at = math.inf

    def revive(self) -> None:
        """The change that ended it is lost."""
        self.superseded_at = self.answered_at = math.inf

    def __repr__(self) -> str:
        return f"<{self.ref[0]} {self.ref[1]} {'allowed' if self.is_allowed else 'denied'}>"


class Broken(Exception):
    """The promise does not hold."""


class History:
    """Judges everything that is let in, at the moment when it is."""

    __slots__ = ("accepted", "denied", "graced", "lease_seconds", "lost_at")

    def __init__(self, lease_seconds: float) -> None:
        self.lease_seconds = lease_seconds
        self.lost_at = -math.inf  # the last failover that lost anything, leases included
        self.accepted = self.graced = self.denied = 0

    def accept(self, states: Iterable[State], now: float, grace_seconds: float) -> None:
        self.accepted += 1
        if grace_seconds:
            self.graced += 1
        bound = (self.lease_seconds + grace_seconds) * STRETCH
        for one in states:
            if not one.is_allowed:
                raise Broken(f"{one} was let in")
            if now > one.superseded_at + bound:
                late = now - one.superseded_at
                raise Broken(f"P1: {one} let in {late:.3f} s after the change that ended it")
            # Leases that the database has lost are unknown to whoever waits for them to end.
            if now > one.answered_at and now > self.lost_at + bound:
                late = now - one.answered_at
                raise Broken(f"P2: {one} let in {late:.3f} s after the barrier's answer")
            if now > one.lost_at + bound:
                late = now - one.lost_at
                raise Broken(f"lost: {one} let in {late:.3f} s after a failover that lost it")
