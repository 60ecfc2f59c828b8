"""The country of an address: of the registries' own assignments, which come with the extra `geo`.

It says where a block is registered, not where it is used, and it is asked of nobody.
"""

from collections.abc import Callable
from functools import lru_cache

from keyturn.domain.network import Address

MOST_REMEMBERED = 65_536


def find_countries() -> Callable[[Address], str | None] | None:
    """What tells an address's country, None where the extra is not installed."""
    try:
        from iptocc import country_code
    except ImportError:
        return None

    @lru_cache(maxsize=MOST_REMEMBERED)
    def country_of(address: Address) -> str | None:
        return country_code(str(address)) if address.is_global else None

    return country_of
