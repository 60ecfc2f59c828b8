"""The vendors' own libraries, loaded where a source of theirs is named, and not before."""

import importlib
from types import ModuleType

from keyturn.client.errors import ConfigurationFault


def load(module: str, extra: str) -> ModuleType:
    """A module of a vendor's library. Raises `ConfigurationFault` where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationFault(
            f"A source `{extra}:` needs a library that is not installed ({error.name}): install "
            f"`keyturn[{extra}]`."
        ) from None
