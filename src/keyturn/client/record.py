"""What all records have in common, and those that an error carries too."""

from datetime import datetime
from typing import Annotated

import msgspec

# A time without an offset is one that nobody can place.
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Record(msgspec.Struct, frozen=True):
    """A record as it was answered."""


class Blocker(Record, frozen=True, kw_only=True):
    """What keeps a rotation from completing; `runtime` is whom, None where it is no workload."""

    code: str
    runtime: str | None = None
    detail: str


class NamedKey(Record, frozen=True, kw_only=True):
    """A key by its id and its name."""

    key_id: str
    name: str
