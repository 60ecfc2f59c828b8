"""`keyturn rotations`: one key is replaced by another, watched, and ended on its evidence."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import click

from keyturn.cli.connection import calling
from keyturn.cli.delivering import Course, Sent, course_options, tell_of_delivery
from keyturn.cli.handover import Handover, Issued, output_option
from keyturn.cli.naming import (
    KEY_HELP,
    ROTATION_HELP,
    key_id,
    key_to_rotate,
    named_key,
    named_rotation,
    short,
)
from keyturn.cli.output import Column, Output, ago, spelled, whole_span
from keyturn.cli.paged import Portion, paged
from keyturn.cli.repeating import once_option
from keyturn.cli.rotation_acts import brownout, complete, decide, extend, rollback
from keyturn.cli.rotation_board import COLUMNS, board_of
from keyturn.cli.rotation_watch import watch_rotation
from keyturn.cli.when import SPAN, now
from keyturn.client.errors import KeyturnClientError
from keyturn.client.rotation_records import Rotation, StartedRotation
from keyturn.domain.slot import SlotName

if TYPE_CHECKING:
    from keyturn.client import Keyturn
    from keyturn.client.rotations import RotationState

_LISTED = (
    Column("id"),
    Column("slot", wide=True),
    Column("state"),
    Column("moved", right=True),
    Column("waits for", wide=True),
    Column("deadline (utc)", optional=True),
    Column("started"),
)
_STATES = ("open", "overlapping", "brownout", "completed", "rolled_back", "cancelled", "all")
_UNSURE = (
    "`keyturn rotations list --state open` shows it; `keyturn rotations rollback SLOT` takes it "
    "back."
)


@click.group()
def rotations() -> None:
    """Rotations: a key is replaced, and the old one ends when each workload has moved."""


@rotations.command(epilog=KEY_HELP)
@click.argument("key", metavar="SLOT|KEY")
@click.option(
    "--overlap",
    "overlap_seconds",
    type=SPAN,
    metavar="SPAN",
    help="The time that it should take, like 1d. Nothing is cut after it.",
)
@click.option(
    "--quiet-for",
    "quiet_seconds",
    type=SPAN,
    metavar="SPAN",
    help="How long the old key must rest before it ends, like 15m.",
)
@click.option(
    "--brownout",
    "brownout_seconds",
    type=SPAN,
    metavar="SPAN",
    help="How long the old key is suspended before the end, as a test; 0 for no test.",
)
@click.option(
    "--lookback",
    "lookback_seconds",
    type=SPAN,
    metavar="SPAN",
    help="How far back the old key's users are looked for, like 35d.",
)
@click.option(
    "--auto-complete/--no-auto-complete",
    "auto_complete",
    default=None,
    help="Whether it ends by itself as soon as it may. Default: it does.",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="WORD",
    help="Fewer than the old key has; repeat it.",
)
@click.option(
    "--allow-cidr",
    "allowed_cidrs",
    multiple=True,
    metavar="BLOCK",
    help="Narrower than the old key's; may be repeated.",
)
@click.option("--watch", "is_watched", is_flag=True, help="Look on until it ends.")
@course_options
@once_option
@output_option
@calling
def start(
    client: "Keyturn",
    output: Output,
    key: str,
    overlap_seconds: int | None,
    quiet_seconds: int | None,
    brownout_seconds: int | None,
    lookback_seconds: int | None,
    auto_complete: bool | None,
    scopes: tuple[str, ...],
    allowed_cidrs: tuple[str, ...],
    is_watched: bool,
    course: Course,
    idempotency_key: str | None,
    target: str | None,
) -> None:
    """Replace a key: make its successor, and let both work until each workload has moved.

    SLOT is one like scheduler-prod, whose one active key is replaced. Where its rotation is open
    already, that one is joined.

    \b
    Examples:
      keyturn rotations start scheduler-prod --watch
      keyturn rotations start scheduler-prod --overlap 2d --output scheduler.token
      keyturn rotations start kt_prod_06aSDUtCJxNn2WzPHQ7kVt --scope read --output -
      keyturn rotations start worker-prod --deliver-to vault-prod --wait
    """
    if is_watched and output.as_json:
        raise click.UsageError(
            "Give --watch or --json, but not both; `keyturn rotations watch --json` follows it."
        )
    if is_watched and course.wait_seconds is not None:
        raise click.UsageError("Give --watch or --wait, but not both.")
    is_delivered = course.is_delivered(client, target, lambda: _slot_of(client, key))
    with Handover(target, unsure=_UNSURE, is_needed=not is_delivered) as handover:
        started = client.rotations.start(
            key_to_rotate(client, key),
            overlap_seconds=overlap_seconds,
            quiet_seconds=quiet_seconds,
            brownout_seconds=brownout_seconds,
            lookback_seconds=lookback_seconds,
            auto_complete=auto_complete,
            scopes=scopes or None,
            allowed_cidrs=allowed_cidrs or None,
            deliver_to=course.names,
            idempotency_key=idempotency_key,
        )
        if not started.is_joined and not started.deliveries:
            handover.deliver(output, _issued(started), lambda: _taken_back(client, started.id))
            if not (output.as_json or is_watched):
                for note in _notes_of_start(started):
                    output.note(note)
    if started.deliveries:
        tell_of_delivery(client, output, _sent(started, is_watched), course, target)
    elif started.is_joined:
        _tell_of_joining(output, started)
    if is_watched:
        watch_rotation(client, output, started)


@rotations.command("list")
@click.option("--state", type=click.Choice(_STATES), help="Default: all.")
@click.option("--slot", metavar="SLOT", help="Those of one slot.")
@click.option("--key", metavar="KEY", help="Those that a key has a part in.")
@paged
@calling
def list_(
    client: "Keyturn",
    output: Output,
    state: str | None,
    slot: str | None,
    key: str | None,
    portion: Portion,
) -> None:
    """List rotations, newest first.

    \b
    Examples:
      keyturn rotations list --state open
      keyturn rotations list --slot scheduler-prod --json
    """
    found = client.rotations.list(
        state=cast("RotationState | None", state),
        slot=slot,
        key_id=None if key is None else key_id(client, key),
        limit=portion.page_size,
    )
    portion.show(output, found, _LISTED, _row, lambda one: one.id)


@rotations.command(epilog=ROTATION_HELP)
@click.argument("rotation")
@calling
def show(client: "Keyturn", output: Output, rotation: str) -> None:
    """Show a rotation: who has moved, who has not, and what is next.

    \b
    Examples:
      keyturn rotations show scheduler-prod
      keyturn rotations show 06aSDUtCJxNn2WzPHQ7kVt --json
    """
    show_rotation(output, named_rotation(client, rotation))


@rotations.command(epilog=ROTATION_HELP)
@click.argument("rotation", metavar="ROTATION|SLOT")
@calling
def watch(client: "Keyturn", output: Output, rotation: str) -> None:
    """Look on until a rotation ends. Ctrl-C leaves it running.

    On a terminal its table changes in its place; elsewhere there is a line for each change, and
    with --json a line of JSON. Ends with 0 where it was completed, else with 3.

    \b
    Examples:
      keyturn rotations watch scheduler-prod
      keyturn rotations watch scheduler-prod --json | jq .state
    """
    watch_rotation(client, output, named_rotation(client, rotation))


for _act in (complete, rollback, extend, brownout, decide):
    rotations.add_command(_act)


def show_rotation(output: Output, rotation: Rotation) -> None:
    """A rotation as the output wants it."""
    if output.as_json:
        output.json(rotation)
        return
    if output.is_quiet:
        output.say(rotation.id)
        return
    board = board_of(rotation, now())
    output.record(
        [
            ("id", rotation.id),
            ("slot", rotation.slot),
            ("state", rotation.state),
            ("old key", rotation.old_key_id),
            ("new key", rotation.new_key_id),
            ("started", f"{spelled(rotation.started_at)} by {rotation.started_by}"),
            ("deadline", rotation.deadline),
            ("overdue", rotation.overdue),
            *([] if rotation.is_open else _end(rotation)),
            ("ends by itself", rotation.auto_complete),
            ("quiet", whole_span(rotation.quiet_seconds)),
            ("brown-out", whole_span(rotation.brownout_seconds)),
            ("look-back", whole_span(rotation.lookback_seconds)),
            *(
                (f"{one.runtime} is", f"{one.standing}, says {one.by}{_why(one.reason)}")
                for one in rotation.decisions
            ),
        ]
    )
    for line in board.deliveries:
        output.say(line)
    if board.rows:
        click.echo()
        output.table(COLUMNS, [row.cells for row in board.rows])
    click.echo()
    for note in board.notes:
        output.say(note)
    output.say(board.step)
    if board.command:
        output.say(f"  {board.command}")


def _end(rotation: Rotation) -> list[tuple[str, object]]:
    return [
        ("ended", rotation.completed_at),
        ("ended by", rotation.ended_by),
        ("forced", rotation.forced),
        ("reason", rotation.reason),
    ]


def _why(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def _row(one: Rotation) -> tuple[object, ...]:
    board = board_of(one, now())
    waited = [row.runtime for row in board.rows if row.status in ("waits", "conflict")]
    others = [blocker.code for blocker in one.blocked_by if blocker.runtime is None]
    moved = sum(row.status == "moved" for row in board.rows)
    return (
        short(one.id),
        one.slot,
        one.state,
        f"{moved}/{moved + len(waited)}",
        [*waited, *others] if one.is_open else None,
        one.deadline,
        ago(one.started_at),
    )


def _issued(started: StartedRotation) -> Issued:
    return Issued(
        what=f"a new key for {started.slot}",
        id=started.new_key_id,
        quiet_id=started.id,
        members=_members(started),
        token=started.token,
    )


def _sent(started: StartedRotation, is_watched: bool) -> Sent:
    slot, id_ = started.slot, short(started.id)
    return Sent(
        what=f"{slot} is being rotated already: joined {id_}, begun {ago(started.started_at)}. Its "
        "terms stay"
        if started.is_joined
        else f"Made a new key for {slot}, id {short(started.new_key_id)}",
        key_id=started.new_key_id,
        quiet_id=started.id,
        members=_members(started),
        deliveries=started.deliveries,
        notes=() if started.is_joined or is_watched else tuple(_notes_of_start(started)),
    )


def _slot_of(client: "Keyturn", key: str) -> SlotName | None:
    return SlotName.parse(key) or SlotName.parse(named_key(client, key).slot)


def _members(started: StartedRotation) -> dict[str, object]:
    """What the API answered, member by member."""
    names = (one for one in started.__struct_fields__ if one != "is_joined")
    return {one: getattr(started, one) for one in names}


def _notes_of_start(started: StartedRotation) -> Iterator[str]:
    yield (
        f"Rotation {short(started.id)}: the old key works on until each workload has moved, which "
        f"should be by {spelled(started.deadline)} (UTC)."
    )
    if started.deliveries:
        yield "Next: let each workload read the new token there, or restart it, and look on."
    else:
        yield "Next: deploy the new token, and look on."
    yield f"  keyturn rotations watch {started.slot}"


def _tell_of_joining(output: Output, started: StartedRotation) -> None:
    if output.as_json:
        output.json({**_members(started), "api_key": None})
    elif output.is_quiet:
        output.say(started.id)
    else:
        output.say(
            f"{started.slot} is being rotated already: joined {short(started.id)}, begun "
            f"{ago(started.started_at)}. Its terms stay."
        )
        output.say(
            "No token is given: that of its new key was handed out when it began. Where it is "
            f"lost: `keyturn rotations rollback {started.slot}`, and start again."
        )


def _taken_back(client: "Keyturn", id_: str) -> str:
    try:
        client.rotations.rollback(id_, reason="Its token could not be handed over.")
    except KeyturnClientError as error:
        return (
            f"the rotation goes on and nobody has its token, since it cannot be rolled back now "
            f"({error}). `keyturn rotations rollback {id_}` does it."
        )
    return "the rotation was rolled back."
