"""What is said of an incident when it is opened, and what is told of one that was."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

import click

from keyturn.ambient import SystemClock
from keyturn.cli.incident_board import KEYS, Board, board_of, brief
from keyturn.cli.naming import short
from keyturn.cli.output import counted, spelled, terminal_width
from keyturn.cli.page import Command, Table, page_lines
from keyturn.cli.when import BACK, now
from keyturn.client.errors import KeyturnClientError
from keyturn.client.incident_records import ElsewhereKey, Incident, OpenedIncident

if TYPE_CHECKING:
    from keyturn.client import Keyturn
    from keyturn.client.incidents import Containment, IncidentReason

_MOST_SHOWN = 20
_PATIENCE_SECONDS = 3
_SECONDS_BETWEEN = 0.2
_REASONS = ("leaked", "suspected", "staff_change", "other")
_OF_OPENING = ("is_joined", "propagation", "effective_by")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an incident is opened with, besides its keys."""

    reason: "IncidentReason | None"
    detail: str | None
    found_url: str | None
    exposed_since: datetime | None
    containment: "Containment | None"


def terms_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command what may be said of an incident, as one `Terms`."""

    @click.option(
        "--reason",
        type=click.Choice(_REASONS),
        default="leaked",
        show_default=True,
        help="Why its keys end.",
    )
    @click.option("--detail", metavar="TEXT", help="What happened, in your words; it is kept.")
    @click.option("--found-url", metavar="URL", help="Where the token was found.")
    @click.option(
        "--exposed-since",
        type=BACK,
        metavar="WHEN",
        help="Since when others may have had it: 3d, or a time. Default: since each key was made.",
    )
    @click.option(
        "--suspend",
        "is_suspended",
        is_flag=True,
        help="Suspend the keys instead of revoking them: a false alarm gives them back.",
    )
    @functools.wraps(command)
    def call(
        *args: object,
        reason: str,
        detail: str | None,
        found_url: str | None,
        exposed_since: datetime | None,
        is_suspended: bool,
        **kwargs: object,
    ) -> None:
        kwargs["terms"] = Terms(
            reason=cast("IncidentReason", reason),
            detail=detail,
            found_url=found_url,
            exposed_since=exposed_since,
            containment="suspend" if is_suspended else None,
        )
        command(*args, **kwargs)

    return call


def members_of(opened: OpenedIncident) -> dict[str, object]:
    """What the API answered, member by member."""
    names = (one for one in opened.__struct_fields__ if one not in _OF_OPENING)
    return {one: getattr(opened, one) for one in names}


def tell_contained(opened: OpenedIncident) -> None:
    """What happened, and what is contained."""
    board = board_of(opened, now())
    parts: list[Sequence[str] | Table] = [
        (_happened(opened),),
        Table(columns=KEYS[:3], rows=[_cells(board, at) for at in range(_shown(board))]),
    ]
    more = len(board.keys) - _shown(board)
    if more:
        look = f"keyturn incidents show {short(opened.id)}"
        parts.append((f"… and {more:,} more; `{look}` lists them all.",))
    if opened.elsewhere:
        parts.append([_elsewhere(one) for one in opened.elsewhere[:_MOST_SHOWN]])
    for line in page_lines(parts, terminal_width()):
        click.echo(line)


def tell_what_is_left(client: "Keyturn", incident: Incident, replaced_by: str = "") -> None:
    """What is left to do, and then the one next step; a moment is given to the last requests, so
    that all who used the keys are known. `replaced_by` are options that a replacement needs."""
    board = board_of(_counted(client, incident), now())
    way = replaced_by if board.command.startswith("keyturn incidents replace ") else ""
    command = [Command(board.command + way)] if board.command else []
    left = [*_left(board), *board.notes]
    parts = [["Left to do:", *(f"- {one}" for one in left)]] if left else []
    for line in page_lines([*parts, [board.step, *command]], terminal_width()):
        click.echo(line)


def _counted(client: "Keyturn", incident: Incident) -> Incident:
    """The incident once its requests are counted, or as it is after a moment."""
    clock = SystemClock()
    deadline = clock.elapsed() + _PATIENCE_SECONDS
    while incident.is_open and incident.counted_at is None and clock.elapsed() < deadline:
        clock.sleep(_SECONDS_BETWEEN)
        try:
            incident = client.incidents.read(incident.id)
        except KeyturnClientError:
            break  # the keys are contained, and this is a courtesy
    return incident


def _happened(opened: OpenedIncident) -> str:
    keys = counted(len(opened.keys), "key")
    named = f"Incident {short(opened.id)}"
    if opened.is_joined:
        return f"{keys} contained before: incident {short(opened.id)} is open, and is joined."
    dead = sum(one.status_before == "revoked" for one in opened.keys)
    if dead == len(opened.keys):
        was, it = ("was", "it") if dead == 1 else ("were", "them")
        return f"{keys} {was} revoked before: no verifier accepts {it}. {named} is open."
    took = brief(opened.seconds.contain or 0)
    done = "revoked" if opened.containment == "revoke" else "suspended"
    done += f" ({dead:,} had been before)" if dead else ""
    if opened.effective_by is not None:
        return f"{keys} {done}: effective by {spelled(opened.effective_by)} (UTC). {named} is open."
    return (
        f"{keys} {done} within {took}: no verifier accepts it any more. {named} is open.".replace(
            "accepts it", "accepts it" if len(opened.keys) == 1 else "accepts them"
        )
    )


def _elsewhere(one: ElsewhereKey) -> str:
    key, other = short(one.key_id), short(one.incident_id)
    return f"{key} was contained before; `keyturn incidents show {other}` has it."


def _shown(board: Board) -> int:
    return min(len(board.keys), _MOST_SHOWN)


def _cells(board: Board, at: int) -> tuple[object, ...]:
    key, status = board.keys[at]
    return (key.name, key.status if status == "contained" else status, short(key.key_id))


def _left(board: Board) -> list[str]:
    """What is open, a line for each kind, with names."""
    without = [key.name for key, status in board.keys if status in ("contained", "active")]
    waiting = [
        row.name for row in board.rows if row.status == "waits" and row.reason != "a new key"
    ]
    found = []
    if without:
        found.append(f"a new key for {_named(without)}")
    if waiting:
        found.append(f"bring the new token to {_named(waiting)}")
    return found


def _named(names: Sequence[str]) -> str:
    once = [*dict.fromkeys(names)]
    more = len(once) - _MOST_SHOWN
    return ", ".join(once[:_MOST_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
