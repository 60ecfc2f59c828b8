"""Webhooks as Standard Webhooks 1.0.0 has them: what is signed, and how it is spelled.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

1. Signed is `id.timestamp.body`: neither the id nor the time can be moved to another body.
2. There is a signature for each secret, so a receiver that has either one of two accepts, and a
   secret is replaced without a message refused.
3. The time is that of the attempt: a receiver refuses what is minutes old, a repetition too.
4. A secret is shown as `whsec_` and base64; what is signed with are the bytes behind it.
"""

import base64
import hmac
from collections.abc import Iterable
from typing import NoReturn

from keyturn.domain.instant import SECOND

SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"
MOST_PAYLOAD_BYTES = 20_000


def spell_secret(secret: bytes) -> str:
    """A signing secret as its receiver needs it."""
    return SECRET_PREFIX + base64.b64encode(secret).decode("ascii")


def sign(secrets: Iterable[bytes], message_id: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of a message that is sent at a time, in microseconds."""
    timestamp = str(at // SECOND)
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = (
        "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode("ascii")
        for secret in secrets
    )
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
    }


class WebhookSecret:
    """A signing secret as its receiver needs it, which does not show itself."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not text.startswith(SECRET_PREFIX):
            raise ValueError("not a signing secret")
        self._text = text

    def reveal(self) -> str:
        """The secret itself, for the one answer or file that hands it out. Never log it."""
        return self._text

    def __repr__(self) -> str:
        return "<WebhookSecret>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing secret cannot be pickled or copied")
