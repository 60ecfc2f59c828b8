"""The strongbox: what must be had again, kept so that the database alone gives nothing away.

1. `sealed = 0x01 ‖ nonce (12 bytes) ‖ AES-256-GCM(key, nonce, plain, context)` (NIST SP 800-38D);
   the key is derived from the root secret, which is not in the database.
2. The context names the table, the column, the workspace and the row: what is sealed for one place
   opens nowhere else. It is length-prefixed, so that no two contexts are spelled alike.
3. Nonces are drawn at random: 2^32 of them under one key collide with a chance of less than 2^-32.
4. Here lie the credentials of destinations, the signing secrets of webhooks, and a new token until
   it has been delivered. A key's digest is no part of this: it is never to be had again.
"""

from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keyturn.domain.ambience import Entropy
from keyturn.domain.error import IntegrityFailed

KEY_BYTES = 32
_NONCE_BYTES = 12
_SCHEME = b"\x01"
_LABEL = b"keyturn/strongbox/v1"


class Strongbox:
    """Seals and opens, with the key of this installation."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a strongbox's key has {KEY_BYTES} bytes")
        self._cipher = AESGCM(key)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a strongbox cannot be pickled or copied")

    def seal(self, entropy: Entropy, context: tuple[str, ...], plain: bytes) -> bytes:
        """What may be kept in the place that `context` names."""
        nonce = entropy.take(_NONCE_BYTES)
        return _SCHEME + nonce + self._cipher.encrypt(nonce, plain, _spelled(context))

    def open(self, context: tuple[str, ...], sealed: object) -> bytes:
        """What was sealed for the same context. `sealed` is a cell of any type. Raises
        `IntegrityFailed` where it was changed, or belongs to another place or installation."""
        if isinstance(sealed, bytes) and sealed[:1] == _SCHEME:
            nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
            try:
                return self._cipher.decrypt(nonce, rest, _spelled(context))
            except (InvalidTag, ValueError):
                pass
        raise IntegrityFailed(
            "A secret that is kept sealed was changed from outside, or is of another installation. "
            "Enter it anew, and see the activity log."
        )


def _spelled(context: tuple[str, ...]) -> bytes:
    parts = (part.encode() for part in context)
    return _LABEL + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
