"""The file of checks: when the activity log was checked as a whole, and what came of it, signed.

`keyturn activity verify` reads the database and writes nothing to it, so its outcome is kept beside
the signed heads, outside what it judges. A line that this installation did not sign says nothing.
"""

import json
from pathlib import Path

from keyturn.domain.instant import is_instant
from keyturn.domain.posture.facts import LogCheck
from keyturn.server.files import append_line
from keyturn.services.attest import Attestation, Notary

# Some hundred lines; what is before them was checked earlier.
_TAIL_BYTES = 65_536


class ChecksFile:
    """The outcomes of checks, the newest last."""

    def __init__(self, path: Path, notary: Notary) -> None:
        self._path = path
        self._notary = notary

    def add(self, found: Attestation, now: int) -> None:
        """Writes down what a check found. Raises `OSError`."""
        check = LogCheck(at=now, is_sound=found.is_sound, entries=found.entries, hash=found.hash)
        members = {
            "at": check.at,
            "sound": check.is_sound,
            "entries": check.entries,
            "hash": check.hash,
            "signature": self._notary.seal(_signed(check)),
        }
        append_line(self._path, json.dumps(members))

    def last(self) -> LogCheck | None:
        """The newest outcome, None where there is none that can be trusted."""
        try:
            with self._path.open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - _TAIL_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return None
        found = [check for line in lines if (check := self._read(line)) is not None]
        return max(found, key=lambda one: one.at, default=None)

    def _read(self, line: str) -> LogCheck | None:
        try:
            members = json.loads(line)
            at, is_sound, entries = (members[name] for name in ("at", "sound", "entries"))
            # What is signed spells the number 7 and the text "7" alike.
            if not is_instant(at) or type(is_sound) is not bool or type(entries) is not int:
                return None
            check = LogCheck(at=at, is_sound=is_sound, entries=entries, hash=str(members["hash"]))
            return check if self._notary.holds(_signed(check), members["signature"]) else None
        except (ValueError, TypeError, KeyError, RecursionError):
            return None


def _signed(check: LogCheck) -> bytes:
    outcome = "sound" if check.is_sound else "not sound"
    return f"keyturn/check/v1\n{check.at}\n{outcome}\n{check.entries}\n{check.hash}".encode()
