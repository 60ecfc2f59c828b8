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
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import NoReturn
from uuid import UUID

from keyturn.domain.error import StorageUnavailable

_DIGEST = b"keyturn/digest/v1\x00"
_WRAP = b"keyturn/wrap/v1\x00"
_FINGERPRINT = b"keyturn/pepper-fingerprint\x01"
_FINGERPRINT_BYTES = 8
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))

# Gives the peppers as they are kept now, for a ring that meets a version which it has not. It is
# asked again and again, so it must be cheap where nothing has changed.
Reread = Callable[[], Mapping[int, bytes]]


class _Keyed:
    """HMAC-SHA-256 of what begins with `prefix`, under one key whose two blocks are hashed once
    (RFC 2104, 4): every verification takes one, in less than half the time."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes, prefix: bytes) -> None:
        block = key.ljust(sha256().block_size, b"\x00")
        self._inner = sha256(block.translate(_INNER) + prefix)
        self._outer = sha256(block.translate(_OUTER))

    def digest(self, message: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a keyed hash cannot be pickled or copied")


class PepperRing:
    """The peppers by version (32 bytes each), and the version that new digests get.

    A ring only grows: what it once had is never replaced, and `current` never falls, so digests
    that were made stay good while another process brings in a new pepper.
    """

    __slots__ = ("_begun", "_keyed", "_peppers", "_reread")

    def __init__(self, peppers: Mapping[int, bytes], current: int, reread: Reread = dict) -> None:
        if current not in peppers:
            raise ValueError("the current pepper is not in the ring")
        if any(len(pepper) != 32 for pepper in peppers.values()):
            raise ValueError("a pepper has 32 bytes")
        self._peppers = dict(peppers)
        self._keyed: dict[int, _Keyed] = {}
        self._reread = reread
        # This and the peppers are added to in place: where two threads do so at once, neither takes
        # from the other.
        self._begun = [current]

    def __repr__(self) -> str:
        return f"<PepperRing versions={sorted(self._peppers)} current={self.current}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("peppers cannot be pickled or copied")

    @property
    def current(self) -> int:
        return max(self._begun)

    @property
    def versions(self) -> tuple[int, ...]:
        return tuple(sorted(self._peppers))

    def learn(self) -> None:
        """Takes in the peppers that were added since."""
        for version, pepper in self._reread().items():
            self._peppers.setdefault(version, pepper)

    def fingerprint(self, version: int) -> str | None:
        """Tells two peppers apart and gives nothing away; None where there is none to be had."""
        try:
            return fingerprint(self._pepper(version))
        except KeyError:
            return None

    def advance(self, version: int) -> None:
        """From now on new digests get this pepper, unless they get a later one already. Raises
        `ValueError` where there is none to be had."""
        if self.fingerprint(version) is None:
            raise ValueError("the pepper is not in the ring")
        if version > self.current:
            self._begun.append(version)

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

        Raises `StorageUnavailable` where the row names a pepper that is not to be had: nobody can
        tell then, and a denial would be a guess.
        """
        try:
            made = self._digest(peppers, workspace_id.bytes + id.bytes, secret)
        except KeyError as error:
            raise StorageUnavailable(
                f"The file of the root secret lacks pepper {error.args[0]}, which this token was "
                "kept with; put the newest copy of the file there."
            ) from None
        except ValueError:
            return False
        return hmac.compare_digest(made, stored)

    def wrap(
        self,
        stored: bytes,
        peppers: str,
        *,
        workspace_id: UUID,
        id: UUID,  # noqa: A002
    ) -> tuple[bytes, str] | None:
        """The same digest under the current pepper too, and what to store beside it; None where it
        stands under that already, or is the empty one of a record without a secret."""
        if not peppers or int(peppers.rpartition("+")[2]) >= self.current:
            return None
        ids = workspace_id.bytes + id.bytes
        made = hmac.digest(self._pepper(self.current), _WRAP + ids + stored, "sha256")
        return made, f"{peppers}+{self.current}"

    def spend(self, secret: bytes) -> None:
        """As much work as `matches`, for an id that does not exist: timing must not tell."""
        made = self._digest(str(self.current), bytes(32), secret)
        hmac.compare_digest(made, made)

    def _digest(self, peppers: str, ids: bytes, secret: bytes) -> bytes:
        first, *wraps = peppers.split("+") if "+" in peppers else (peppers,)
        made = self._digester(int(first)).digest(ids + secret)
        for version in wraps:
            made = hmac.digest(self._pepper(int(version)), _WRAP + ids + made, "sha256")
        # As many rounds for each row, or the time would tell a wrapped one from one that is not.
        for _ in range(len(wraps) + 1, len(self._peppers)):
            hmac.digest(made, _WRAP + ids + made, "sha256")
        return made

    def _digester(self, version: int) -> _Keyed:
        keyed = self._keyed.get(version)
        if keyed is None:
            keyed = self._keyed[version] = _Keyed(self._pepper(version), _DIGEST)
        return keyed

    def _pepper(self, version: int) -> bytes:
        if version not in self._peppers:
            self.learn()
        return self._peppers[version]


def fingerprint(pepper: bytes) -> str:
    """The first bytes of HKDF-SHA-256 (RFC 5869) without salt, as hexadecimal digits."""
    extracted = hmac.digest(bytes(32), pepper, "sha256")
    return hmac.digest(extracted, _FINGERPRINT, "sha256")[:_FINGERPRINT_BYTES].hex()
