"""The bodies of rotation policies: what an operator may send, and what a policy looks like."""

from typing import Annotated

from pydantic import Field, WithJsonSchema

from keyturn.domain.policy import (
    LONGEST_WINDOW_MINUTES,
    MOST_AT_ONCE,
    MOST_WINDOWS,
    SHORTEST_WINDOW_MINUTES,
    WEEK,
    MaintenanceWindow,
    RotationPolicy,
    UsualTerms,
    WindowDraft,
    make_policy,
)
from keyturn.http.schema import Given, Shown
from keyturn.http.spelling import BrownoutLength, Lookback, Overlap, PeriodDays, Quiet

# As in `spelling`: the domain judges, these tell.
_Day = Annotated[str, WithJsonSchema({"type": "string", "enum": list(WEEK)})]
_TimeOfDay = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^(?:[01][0-9]|2[0-3]):[0-5][0-9]$",
            "description": "In UTC.",
            "examples": ["02:00"],
        }
    ),
]
_Minutes = Annotated[
    int,
    WithJsonSchema(
        {
            "type": "integer",
            "minimum": SHORTEST_WINDOW_MINUTES,
            "maximum": LONGEST_WINDOW_MINUTES,
        }
    ),
]
_AtOnce = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MOST_AT_ONCE})]


_USUAL = "What holds where a rotation says nothing itself."


class GivenWindow(Given):
    # The bound is far above the domain's sense: seven names, each perhaps more than once.
    days: Annotated[list[_Day], Field(max_length=100, json_schema_extra={"minItems": 1})]
    starts: _TimeOfDay
    minutes: _Minutes

    def draft(self) -> WindowDraft:
        return WindowDraft(days=self.days, starts=self.starts, minutes=self.minutes)


class GivenRotationPolicy(Given):
    """A whole policy. One that says nothing, `{}`, is none: it takes away the one that was."""

    rotation_period_days: PeriodDays | None = None
    most_at_once: _AtOnce | None = None
    maintenance_windows: Annotated[list[GivenWindow], Field(max_length=MOST_WINDOWS)] | None = None
    overlap_seconds: Overlap | None = Field(default=None, description=_USUAL)
    quiet_seconds: Quiet | None = Field(default=None, description=_USUAL)
    brownout_seconds: BrownoutLength | None = Field(default=None, description=_USUAL)
    lookback_seconds: Lookback | None = Field(default=None, description=_USUAL)

    def policy(self) -> RotationPolicy:
        return make_policy(
            rotation_period_days=self.rotation_period_days,
            most_at_once=1 if self.most_at_once is None else self.most_at_once,
            windows=[one.draft() for one in self.maintenance_windows or ()],
            terms=UsualTerms(
                overlap_seconds=self.overlap_seconds,
                quiet_seconds=self.quiet_seconds,
                brownout_seconds=self.brownout_seconds,
                lookback_seconds=self.lookback_seconds,
            ),
        )


class ShownWindow(Shown):
    days: list[str]
    starts: str
    minutes: int

    @classmethod
    def of(cls, window: MaintenanceWindow) -> "ShownWindow":
        return cls(days=list(window.days), starts=window.starts, minutes=window.minutes)


class ShownRotationPolicy(Shown):
    rotation_period_days: int | None
    most_at_once: int
    maintenance_windows: list[ShownWindow]
    overlap_seconds: int | None
    quiet_seconds: int | None
    brownout_seconds: int | None
    lookback_seconds: int | None

    @classmethod
    def of(cls, policy: RotationPolicy | None) -> "ShownRotationPolicy | None":
        if policy is None:
            return None
        return cls(
            rotation_period_days=policy.rotation_period_days,
            most_at_once=policy.most_at_once,
            maintenance_windows=[ShownWindow.of(one) for one in policy.windows],
            overlap_seconds=policy.terms.overlap_seconds,
            quiet_seconds=policy.terms.quiet_seconds,
            brownout_seconds=policy.terms.brownout_seconds,
            lookback_seconds=policy.terms.lookback_seconds,
        )
