"""The vendors' libraries say at level DEBUG what they send and receive: tokens, and credentials."""

import logging


def quieten(*names: str) -> None:
    """These loggers say nothing below WARNING, whatever the level of the loggers above them."""
    for name in names:
        logger = logging.getLogger(name)
        if logger.level < logging.WARNING:
            logger.setLevel(logging.WARNING)
