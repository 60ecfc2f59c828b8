"""One line in the log, where a key turns out to be on its way out.

A verification of the old key of a rotation, or a look at one's own token, tells it to the program.
Its log tells it to people: a warning of `keyturn.client`, once for each key and rotation in the
life of the process, whichever client met it, and never with a token in it.
"""

import contextlib
from datetime import UTC, datetime

from keyturn.client.resources import Self, Verdict
from keyturn.domain.redaction import redact
from keyturn.domain.text import without_controls

LOGGER = "keyturn.client"
MOST_REMEMBERED = 1_000
_LONGEST = 200


class Notices:
    """What was told already: so many at most, then the oldest is forgotten. For any number of
    threads, and without a lock, which a fork might find held by a thread that it has not."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._told: dict[tuple[str, str], object] = {}

    def look_at(self, result: object) -> None:
        """Tells of it, where it is an answer that says so, and it is news."""
        match result:
            case Verdict(deprecation=notice, key=key) if notice is not None:
                owner = None if key is None else (key.id, f"{key.service}-{key.environment}")
                self._tell(
                    owner, notice.rotation_id, notice.sunset, "its caller must take the new one"
                )
            case Self(rotation=notice, key=key) if notice is not None and notice.role == "old":
                owner = None if key is None else (key.id, key.slot)
                self._tell(
                    owner, notice.rotation_id, notice.sunset, "this program must take the new one"
                )
            case _:
                pass

    def _tell(
        self, key: tuple[str, str] | None, rotation: str | None, sunset: datetime | None, what: str
    ) -> None:
        id_, slot = key or ("", "")
        if not self._is_news((id_, rotation or "")):
            return
        # Loaded where it is needed: most programs never do, and the command line starts without.
        import logging

        by = "" if sunset is None else f" by {sunset.astimezone(UTC).isoformat()}"
        named = f"The key {_shown(id_)} ({_shown(slot)})" if key else "A key"
        logging.getLogger(LOGGER).warning(
            "%s is being rotated away: %s%s (rotation %s).", named, what, by, _shown(rotation or "")
        )

    def _is_news(self, told: tuple[str, str]) -> bool:
        mine = object()
        if self._told.setdefault(told, mine) is not mine:
            return False
        # Another thread may forget the same one, or add one meanwhile.
        with contextlib.suppress(RuntimeError, KeyError, StopIteration):
            while len(self._told) > self._most:
                del self._told[next(iter(self._told))]
        return True


def _shown(text: str) -> str:
    """What a server wrote, as a part of one line."""
    return without_controls(redact(text), _LONGEST)


OF_THIS_PROCESS = Notices()
