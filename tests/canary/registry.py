"""The canaries of a run: the secrets that its processes drew, read from their register."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from keyturn.domain.base62 import SECRET_WIDTH, encode
from tests.canary.hook import REGISTRY


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """One secret, and the process that drew it. It never shows itself."""

    raw: bytes = field(repr=False)
    hint: str | None  # a token's; None for a signing secret, and the roots of an installation
    token: str | None = field(repr=False)
    pid: int
    asked: tuple[str, ...]  # what the command was asked for
    folder: Path
    output: Path | None  # the file that its standard output went to
    handed_by: tuple["Canary", ...] = ()  # the same, of the commands that a server gave it to

    @property
    def spelled(self) -> str:
        return encode(int.from_bytes(self.raw, "big"), SECRET_WIDTH)

    @property
    def name(self) -> str:
        return self.hint or f"a root secret drawn by process {self.pid}"


def read_canaries(run_folder: Path) -> list[Canary]:
    """All of them, in the order in which they were drawn."""
    registry = run_folder / REGISTRY
    if not registry.exists():
        return []
    found: dict[bytes, Canary] = {}
    handed: dict[str | bytes, tuple[Canary, ...]] = {}
    for line in registry.read_bytes().splitlines():
        entry = json.loads(line)
        canary = _read(entry)
        if entry["handed"]:
            identity = canary.token or canary.raw
            handed[identity] = (*handed.get(identity, ()), canary)
        elif canary.token is not None or canary.raw not in found:
            found[canary.raw] = canary
    return [replace(one, handed_by=handed.get(one.token or one.raw, ())) for one in found.values()]


def _read(entry: dict[str, Any]) -> Canary:
    output = entry["output"]
    return Canary(
        raw=bytes.fromhex(entry["secret"]),
        hint=entry["hint"],
        token=entry["token"],
        pid=entry["pid"],
        asked=tuple(entry["asked"] or ()),
        folder=Path(entry["folder"]),
        output=None if output is None else Path(output),
    )
