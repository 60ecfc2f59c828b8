"""The vendors' own libraries, loaded where a source of theirs is named, and not before.

At level DEBUG some of their loggers write the whole answers that they were given, tokens and all
(botocore 1.43: `botocore.parsers`), so those are kept from it.
"""

import importlib
import logging
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


def network_fault(error: OSError) -> str:
    """Part of a sentence about what the system, or `requests`, whose faults are such too, says."""
    is_late = isinstance(error, TimeoutError) or "Timeout" in type(error).__name__
    return "it did not answer in time" if is_late else "no connection"


def quieten(*names: str) -> None:
    """These loggers of a library say nothing below INFO, whatever the level of those above."""
    for name in names:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.INFO))
