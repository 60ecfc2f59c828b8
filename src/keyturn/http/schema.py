"""The bodies, exactly as the wire contract spells them. OpenAPI is made from these."""

from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from keyturn.domain.instant import format_instant, parse_instant
from keyturn.http.spelling import Cursor


def _parse_instant(value: object) -> object:
    if not isinstance(value, str):
        raise PydanticCustomError("instant", "This is a time like `2027-01-31T12:00:00Z`.")
    try:
        return parse_instant(value)
    except ValueError:
        raise PydanticCustomError(
            "instant", "This is a time with an offset, like `2027-01-31T12:00:00Z`."
        ) from None


Instant = Annotated[
    int,
    BeforeValidator(_parse_instant),
    PlainSerializer(format_instant, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
GivenInstant = Annotated[Instant, Field(examples=["2027-01-31T12:00:00Z"])]
ShownInstant = Annotated[
    int,
    PlainSerializer(format_instant, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Given(BaseModel):
    """A body that a client sends: its members, no others, and no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Asked(BaseModel):
    """The query of a call: its members and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shown(BaseModel):
    """A body that Keyturn answers with."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProblemError(Shown):
    pointer: str
    detail: str


class ProblemBlocker(Shown):
    """What keeps a rotation from being completed."""

    code: str
    runtime: str | None
    detail: str


class ProblemKey(Shown):
    key_id: str
    name: str


class Problem(Shown):
    """RFC 9457, with a stable code."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[ProblemError] | None = None
    blocked_by: list[ProblemBlocker] | None = Field(
        default=None, description="With `rotation.evidence_missing`."
    )
    runtimes: list[str] | None = Field(
        default=None, description="With `rotation.rollback_unsafe`: who uses only the new key."
    )
    keys: list[ProblemKey] | None = Field(
        default=None,
        description="With `incident.keys_open`: those that are neither recovered nor waived; with "
        "`incident.count_moved`: those that the selection holds.",
    )


class Paged(Asked):
    limit: Annotated[int, Field(ge=1, le=1_000)] = 100
    cursor: Cursor | None = None
    count: bool = False
