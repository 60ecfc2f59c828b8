"""The token of a new key as it was answered, or the error that says why there is none."""

from collections.abc import Sequence

from keyturn.client.delivery_records import Delivery
from keyturn.client.errors import TokenDelivered, TokenLost
from keyturn.domain.token import Token


def given_token(api_key: Token | None, key_id: str, deliveries: Sequence[Delivery]) -> Token:
    """Raises `TokenDelivered` where it goes to destinations, else `TokenLost`."""
    if api_key is not None:
        return api_key
    if deliveries:
        raise TokenDelivered(key_id, tuple(one.destination for one in deliveries))
    raise TokenLost(key_id=key_id)
