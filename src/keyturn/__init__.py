"""Keyturn keeps API keys safe through their whole life.

`from keyturn import Keyturn` is the client; it is loaded when it is asked for, since the command
line and the server begin here too.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["AsyncKeyturn", "KeySource", "Keyturn", "__version__"]

if TYPE_CHECKING:
    from keyturn.client import AsyncKeyturn, KeySource, Keyturn
else:

    def __getattr__(name: str) -> object:
        if name in ("AsyncKeyturn", "KeySource", "Keyturn"):
            from keyturn import client

            return getattr(client, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
