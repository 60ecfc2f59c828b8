"""What people do to a rotation: complete, roll back, extend, test, decide on a workload.

What cannot be undone (`--force`) is asked for, or said with `--yes`. A refusal tells who is in the
way, since when, and the way out.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn, cast

import click

from keyturn.cli.connection import calling
from keyturn.cli.consent import require_consent
from keyturn.cli.ending import MOVED, CommandFailed
from keyturn.cli.naming import ROTATION_HELP, named_rotation, short
from keyturn.cli.output import Column, Output, ago, harmless, spelled, table_lines
from keyturn.cli.repeating import once_option
from keyturn.cli.rotation_board import command_of
from keyturn.cli.when import AHEAD, SPAN
from keyturn.client.errors import EvidenceMissing, RollbackUnsafe
from keyturn.client.record import Blocker
from keyturn.client.rotation_records import Rotation, Waiver

if TYPE_CHECKING:
    from keyturn.client import Keyturn
    from keyturn.client.rotations import Standing

_IN_THE_WAY = (
    Column("in the way"),
    Column("runtime"),
    Column("old key used"),
    Column("why", wide=True),
)
_STANDINGS = ("ours", "intruder", "waived", "checked_in")

_rotation = click.argument("rotation", metavar="ROTATION|SLOT")
_yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.command(epilog=ROTATION_HELP)
@_rotation
@click.option("--force", is_flag=True, help="Whoever still uses the old key, end it.")
@click.option("--reason", metavar="TEXT", help="Why; needed with --force, and kept.")
@click.option(
    "--waive",
    multiple=True,
    metavar="RUNTIME=REASON",
    help="A workload that is not to be waited for. May be repeated.",
)
@_yes
@once_option
@calling
def complete(
    client: "Keyturn",
    output: Output,
    rotation: str,
    force: bool,
    reason: str | None,
    waive: tuple[str, ...],
    yes: bool,
    idempotency_key: str | None,
) -> None:
    """Revoke the old key, if the evidence allows it. There may be a brown-out first.

    With --force it ends whoever still uses it; that is asked for, and cannot be undone.

    \b
    Examples:
      keyturn rotations complete scheduler-prod
      keyturn rotations complete scheduler-prod --waive nightly='switched off in May'
      keyturn rotations complete scheduler-prod --force --reason 'the old host is gone' --yes
    """
    _require_reason(force, reason)
    waived = [_waiver(one) for one in waive]
    found = named_rotation(client, rotation)
    if force and found.is_open and not yes:
        require_consent(
            f"Complete the rotation of {found.slot} by force? The old key is revoked, which cannot "
            f"be undone. {_who_breaks(found)}"
        )
    try:
        changed = client.rotations.complete(
            found.id,
            force=force or None,
            reason=reason,
            waive=waived or None,
            idempotency_key=idempotency_key,
        )
    except EvidenceMissing as error:
        _refuse_completion(client, found.id, error)
    _tell(output, changed, _completed(changed))


@click.command(epilog=ROTATION_HELP)
@_rotation
@click.option("--force", is_flag=True, help="Whoever uses only the new key by now, end it.")
@click.option("--reason", metavar="TEXT", help="Why; needed with --force, and kept.")
@click.option("--keep-both", is_flag=True, help="Both keys live on, as ordinary ones.")
@_yes
@once_option
@calling
def rollback(
    client: "Keyturn",
    output: Output,
    rotation: str,
    force: bool,
    reason: str | None,
    keep_both: bool,
    yes: bool,
    idempotency_key: str | None,
) -> None:
    """Revoke the new key, and keep the old one. Possible until the rotation is completed.

    \b
    Examples:
      keyturn rotations rollback scheduler-prod
      keyturn rotations rollback scheduler-prod --keep-both
      keyturn rotations rollback scheduler-prod --force --reason 'a bad release' --yes
    """
    _require_reason(force, reason)
    if force and keep_both:
        raise click.UsageError("Give --force or --keep-both, but not both: one cuts nobody off.")
    found = named_rotation(client, rotation)
    if force and found.is_open and not yes:
        require_consent(
            f"Roll back the rotation of {found.slot} by force? The new key is revoked, which "
            f"cannot be undone. {_who_moved(found)}"
        )
    try:
        changed = client.rotations.rollback(
            found.id,
            force=force or None,
            reason=reason,
            keep_both=keep_both or None,
            idempotency_key=idempotency_key,
        )
    except RollbackUnsafe as error:
        raise CommandFailed(
            f"{_listed(error.runtimes)} would be cut off: only the new key is used there by now "
            f"({error.code}, request {error.request_id}).",
            remedy="Bring the old token back there first, or keep both: `keyturn rotations "
            f"rollback {short(found.id)} --keep-both`. --force with a --reason cuts them off.",
            code=MOVED,
        ) from error
    kept = "both keys live on" if keep_both else "the old key stays, and the new one is revoked"
    if not found.is_open:
        kept = "it was before, and stays as it ended"
    _tell(output, changed, f"Rolled back the rotation of {changed.slot}: {kept}.")


@click.command(epilog=ROTATION_HELP)
@_rotation
@click.option("--deadline", type=AHEAD, metavar="WHEN", help="12h from now, 2d, or a time.")
@click.option(
    "--overlap", "overlap_seconds", type=SPAN, metavar="SPAN", help="So long after its start: 3d."
)
@once_option
@calling
def extend(
    client: "Keyturn",
    output: Output,
    rotation: str,
    deadline: datetime | None,
    overlap_seconds: int | None,
    idempotency_key: str | None,
) -> None:
    """Set a later deadline. Nothing is cut at a deadline: it is when people are told.

    \b
    Examples:
      keyturn rotations extend scheduler-prod --overlap 3d
      keyturn rotations extend scheduler-prod --deadline 2027-01-31T12:00:00Z
    """
    if (deadline is None) == (overlap_seconds is None):
        raise click.UsageError("Give --deadline or --overlap, one of the two.")
    changed = client.rotations.extend(
        named_rotation(client, rotation).id,
        deadline=deadline,
        overlap_seconds=overlap_seconds,
        idempotency_key=idempotency_key,
    )
    _tell(
        output,
        changed,
        f"The rotation of {changed.slot} now has until {spelled(changed.deadline)} (UTC).",
    )


@click.command(epilog=ROTATION_HELP)
@_rotation
@click.option(
    "--seconds",
    "brownout_seconds",
    type=SPAN,
    metavar="SPAN",
    help="How long: 60, or 5m. Default: as it was begun with.",
)
@once_option
@calling
def brownout(
    client: "Keyturn",
    output: Output,
    rotation: str,
    brownout_seconds: int | None,
    idempotency_key: str | None,
) -> None:
    """Suspend the old key for a while, as a test of its end.

    It is lifted at once where a workload of yours meets it, and else at its end.

    \b
    Examples:
      keyturn rotations brownout scheduler-prod --seconds 60
      keyturn rotations brownout scheduler-prod --seconds 5m
    """
    changed = client.rotations.brownout(
        named_rotation(client, rotation).id,
        brownout_seconds=brownout_seconds,
        idempotency_key=idempotency_key,
    )
    _tell(output, changed, _browned_out(changed))


@click.command(epilog=ROTATION_HELP)
@_rotation
@click.argument("runtime")
@click.option("--standing", required=True, type=click.Choice(_STANDINGS), help="What it is.")
@click.option(
    "--network", metavar="PLACE", help="From there only; spelled as the rotation tells it."
)
@click.option("--reason", metavar="TEXT", help="Why; needed with waived and checked_in.")
@once_option
@calling
def decide(
    client: "Keyturn",
    output: Output,
    rotation: str,
    runtime: str,
    standing: str,
    network: str | None,
    reason: str | None,
    idempotency_key: str | None,
) -> None:
    """Say of a workload whether it is yours, an intruder, or not to be waited for.

    ours: it counts, also from where it never was before. intruder: what it does there counts for
    nothing. waived: it is left out. checked_in: that it asked for itself with the new key is taken
    for its run.

    \b
    Examples:
      keyturn rotations decide scheduler-prod web --standing ours
      keyturn rotations decide scheduler-prod web --standing intruder --network 198.51.0.0/16
      keyturn rotations decide scheduler-prod nightly --standing waived --reason 'switched off'
    """
    if standing in ("waived", "checked_in") and not reason:
        raise click.UsageError(f"--standing {standing} needs a --reason, which is kept.")
    changed = client.rotations.decide(
        named_rotation(client, rotation).id,
        runtime,
        cast("Standing", standing),
        network=network,
        reason=reason,
        idempotency_key=idempotency_key,
    )
    place = f" from {network}" if network else ""
    _tell(output, changed, f"Of {runtime}{place} it is kept: {standing}.")
    if not (output.as_json or output.is_quiet):
        output.say(f"Next: {changed.next_step}")


def _refuse_completion(client: "Keyturn", id_: str, error: EvidenceMissing) -> NoReturn:
    """Shows who is in the way, and since when, and ends with the way out."""
    rotation = client.rotations.read(id_)
    seen = {one.runtime: one.old_last_seen_at for one in rotation.evidence}
    rows = [
        (one.code, one.runtime, _ago(seen.get(one.runtime or "")), one.detail)
        for one in error.blocked_by
    ]
    for line in table_lines(_IN_THE_WAY, rows, None) or ():
        click.echo(line, err=True)
    raise CommandFailed(
        f"{error.detail} ({error.code}, request {error.request_id})",
        remedy=_way_out(rotation, error.blocked_by),
        code=MOVED,
    ) from error


def _way_out(rotation: Rotation, blocked_by: Sequence[Blocker]) -> str:
    name = short(rotation.id)
    ways = [rotation.next_step]
    command = command_of(rotation)
    if command:
        ways.append(f"  {command}")
    if any(one.runtime for one in blocked_by):
        ways.append("Who is not to be waited for is left out with --waive RUNTIME=REASON.")
    ways.append(
        f"To end it all the same: `keyturn rotations complete {name} --force --reason TEXT`."
    )
    return "\n  ".join(ways)


def _ago(at: datetime | None) -> str | None:
    return None if at is None else ago(at)


def _who_breaks(rotation: Rotation) -> str:
    blocking = dict.fromkeys(one.runtime for one in rotation.blocked_by if one.runtime)
    if blocking:
        return f"Not moved yet: {', '.join(blocking)}."
    return "What is known allows it." if not rotation.blocked_by else rotation.blocked_by[0].detail


def _who_moved(rotation: Rotation) -> str:
    moved = [one.runtime for one in rotation.evidence if one.new_last_seen_at is not None]
    return f"The new key is used by {_listed(moved)}." if moved else "Nobody uses it yet."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1] if names else "Somebody"


def _completed(rotation: Rotation) -> str:
    if rotation.state == "brownout":
        return _browned_out(rotation)
    return f"Completed the rotation of {rotation.slot}: its old key is revoked everywhere."


def _browned_out(rotation: Rotation) -> str:
    until = spelled(rotation.brownout_until)
    return (
        f"The old key of {rotation.slot} is suspended until {until} (UTC), as a test. "
        f"`keyturn rotations watch {short(rotation.id)}` shows what comes of it."
    )


def _tell(output: Output, rotation: Rotation, sentence: str) -> None:
    if output.as_json:
        output.json(rotation)
    elif output.is_quiet:
        output.say(rotation.id)
    else:
        output.say(harmless(sentence))


def _require_reason(force: bool, reason: str | None) -> None:
    if force and not reason:
        raise click.UsageError("--force needs a --reason, which is kept.")


def _waiver(text: str) -> Waiver:
    runtime, _, reason = text.partition("=")
    if not runtime or not reason.strip():
        raise click.UsageError("--waive takes a runtime and a reason: nightly='switched off'.")
    return Waiver(runtime=runtime, reason=reason)
