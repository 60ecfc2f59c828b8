"""The digest that is stored in place of a secret: HMAC-SHA-256 under a versioned pepper ring.

1. `digest = HMAC(pepper[v], "keyturn/digest/v1" ‖ 0 ‖ workspace id ‖ key id ‖ secret)`. The ids
   bind a digest to its row: copied to another row it fits no token.
2. A secret has 256 bits, so a slow password hash would add nothing against guessing and would make
   each forged token expensive. The pepper is what a thief of the database lacks.
3. A pepper is replaced without knowing any secret, by wrapping:
   `HMAC(pepper[w], "keyturn/wrap/v1" ‖ 0 ‖ workspace id ‖ key id ‖ digest)`. A row's `peppers`,
   written `1` or `1+2`, names the versions in the order in which they were applied.
"""

import hmac
from collections.abc import Mapping
from typing import NoReturn
from uuid import UUID

_DIGEST = b"keyturn/digest/v1\x00"
_WRAP = b"keyturn/wrap/v1\x00"


class PepperRing:
    """The peppers by version (32 bytes each), and the version that new digests get."""

    __slots__ = ("_peppers", "current")

    def __init__(self, peppers: Mapping[int, bytes], current: int) -> None:
        if current not in peppers:
            raise ValueError("the current pepper is not in the ring")
        if any(len(pepper) != 32 for pepper in peppers.values()):
            raise ValueError("a pepper has 32 bytes")
        self._peppers = dict(peppers)
        self.current = current

    def __repr__(self) -> str:
        return f"<PepperRing versions={sorted(self._peppers)} current={self.current}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("peppers cannot be pickled or copied")

    def make(self, *, workspace_id: UUID, id: UUID, secret: bytes) -> tuple[bytes, str]:  # noqa: A002
        """The digest of a new secret, and the `peppers` to store beside it."""
        peppers = str(self.current)
        return self._digest(peppers, workspace_id.bytes + id.bytes, secret), peppers

    def matches(
        self,
        stored: bytes,
        peppers: str,
        *,
        workspace_id: UUID,
        id: UUID,  # noqa: A002
        secret: bytes,
    ) -> bool:
        """Whether `secret` is the one that `stored` was made of, without a short cut in time.

        False too when the row names a pepper that is not in the ring.
        """
        try:
            made = self._digest(peppers, workspace_id.bytes + id.bytes, secret)
        except (KeyError, ValueError):
            return False
        return hmac.compare_digest(made, stored)

    def spend(self, secret: bytes) -> None:
        """As much work as `matches`, for an id that does not exist: timing must not tell."""
        made = self._digest(str(self.current), bytes(32), secret)
        hmac.compare_digest(made, made)

    def _digest(self, peppers: str, ids: bytes, secret: bytes) -> bytes:
        first, *wraps = peppers.split("+")
        made = hmac.digest(self._peppers[int(first)], _DIGEST + ids + secret, "sha256")
        for version in wraps:
            made = hmac.digest(self._peppers[int(version)], _WRAP + ids + made, "sha256")
        return made
