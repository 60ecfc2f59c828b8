"""The vendors' libraries log what they send and receive: tokens and credentials at level DEBUG, and
at WARNING what the other side has said. All that a fault means is told by a `DestinationFault`.
"""

import logging


def quieten(*names: str) -> None:
    """These loggers say nothing below CRITICAL, whatever the level of the loggers above them."""
    for name in names:
        logger = logging.getLogger(name)
        if logger.level < logging.CRITICAL:
            logger.setLevel(logging.CRITICAL)
