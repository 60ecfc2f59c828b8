"""The options that say how a workspace rotates: how often, how many slots at once, and when."""

import functools
from collections.abc import Callable

import click

from keyturn.cli.when import SPAN
from keyturn.client.resources import MaintenanceWindow, RotationPolicy

_PARTS = 3


def policy_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of a rotation policy, as one, None where none is given."""

    @click.option(
        "--rotation-period-days",
        type=int,
        metavar="N",
        help="Rotate each slot every N days, where it says nothing else itself.",
    )
    @click.option(
        "--most-rotations-at-once",
        type=int,
        metavar="N",
        help="So many slots at once at most. Default: 1.",
    )
    @click.option(
        "--maintenance-window",
        "windows",
        multiple=True,
        metavar="'DAYS HH:MM MINUTES'",
        help="When rotations may begin, in UTC: 'mon,tue 02:00 120'. May be repeated. Default: at "
        "any time.",
    )
    @usual_option("overlap", "The time that a rotation should take, like 1d.")
    @usual_option("quiet", "How long the old key must rest before it ends, like 15m.")
    @usual_option("brownout", "How long the old key is suspended before the end, as a test.")
    @usual_option("lookback", "How far back the old key's users are looked for, like 35d.")
    @functools.wraps(command)
    def call(
        *args: object,
        rotation_period_days: int | None,
        most_rotations_at_once: int | None,
        windows: tuple[str, ...],
        overlap_seconds: int | None,
        quiet_seconds: int | None,
        brownout_seconds: int | None,
        lookback_seconds: int | None,
        **kwargs: object,
    ) -> None:
        policy = RotationPolicy(
            rotation_period_days=rotation_period_days,
            most_at_once=1 if most_rotations_at_once is None else most_rotations_at_once,
            maintenance_windows=[_window(one) for one in windows],
            overlap_seconds=overlap_seconds,
            quiet_seconds=quiet_seconds,
            brownout_seconds=brownout_seconds,
            lookback_seconds=lookback_seconds,
        )
        is_given = policy != RotationPolicy() or most_rotations_at_once is not None
        kwargs["rotation_policy"] = policy if is_given else None
        command(*args, **kwargs)

    return call


def usual_option(name: str, what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option of a term that holds where a rotation says nothing itself."""
    return click.option(
        f"--rotation-{name}", f"{name}_seconds", type=SPAN, metavar="SPAN", help=what
    )


def policy_members(policy: RotationPolicy | None) -> list[tuple[str, object]]:
    """What is shown of a policy."""
    if policy is None:
        return [("rotation policy", None)]
    days = policy.rotation_period_days
    windows = [_spelled(one) for one in policy.maintenance_windows]
    return [
        ("rotates every", None if days is None else f"{days} days"),
        ("at once", f"{policy.most_at_once:,} at most"),
        ("windows (utc)", "; ".join(windows) or "any time"),
        *((name, f"{seconds:,} s") for name, seconds in _usual(policy) if seconds is not None),
    ]


def _usual(policy: RotationPolicy) -> list[tuple[str, int | None]]:
    return [
        ("usual overlap", policy.overlap_seconds),
        ("usual quiet", policy.quiet_seconds),
        ("usual brown-out", policy.brownout_seconds),
        ("usual look-back", policy.lookback_seconds),
    ]


def _window(text: str) -> MaintenanceWindow:
    parts = text.split()
    if len(parts) != _PARTS or not (parts[2].isascii() and parts[2].isdecimal()):
        raise click.UsageError(
            "--maintenance-window takes days, a time and minutes: 'mon,tue 02:00 120'."
        )
    days, starts, minutes = parts
    return MaintenanceWindow(days=days.split(","), starts=starts, minutes=int(minutes))


def _spelled(window: MaintenanceWindow) -> str:
    return f"{','.join(window.days)} {window.starts} {window.minutes}"
