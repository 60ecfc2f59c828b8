"""The options that say how a workspace rotates: how often, how many slots at once, and when."""

import functools
from collections.abc import Callable

import click

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
    @functools.wraps(command)
    def call(
        *args: object,
        rotation_period_days: int | None,
        most_rotations_at_once: int | None,
        windows: tuple[str, ...],
        **kwargs: object,
    ) -> None:
        is_given = bool(windows) or (rotation_period_days, most_rotations_at_once) != (None, None)
        kwargs["rotation_policy"] = (
            RotationPolicy(
                rotation_period_days=rotation_period_days,
                most_at_once=1 if most_rotations_at_once is None else most_rotations_at_once,
                maintenance_windows=[_window(one) for one in windows],
            )
            if is_given
            else None
        )
        command(*args, **kwargs)

    return call


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
