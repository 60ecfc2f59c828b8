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

from keyturn.domain.instant import SECOND
from keyturn.domain.signing_secret import SECRET_PREFIX

SECRET_BYTES = 32
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
