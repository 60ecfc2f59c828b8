"""`keyturn incidents replace`: new keys in the place of contained ones, and their tokens on their
way."""

from typing import TYPE_CHECKING

import click

from keyturn.cli.connection import calling
from keyturn.cli.delivering import Course, await_deliveries, course_options, tell_arrivals
from keyturn.cli.ending import ABSENT, FAULT, WRONG, CommandFailed
from keyturn.cli.handover import Handover, Issued, output_option
from keyturn.cli.incident_board import command_of, step_of
from keyturn.cli.incident_tokens import (
    UNSURE,
    Handed,
    delivered_by_slot,
    may_be_given,
    members_of,
    replace_into,
    show_replacements,
    taken_back,
    tell_replaced_before,
    without_replacement,
)
from keyturn.cli.naming import INCIDENT_HELP, named_incident, short, spelled_id
from keyturn.cli.output import Output, counted, harmless
from keyturn.cli.repeating import once_option
from keyturn.cli.when import now
from keyturn.client.incident_records import Incident, IncidentKey

if TYPE_CHECKING:
    from keyturn.client import Keyturn


@click.command(epilog=INCIDENT_HELP)
@click.argument("incident")
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="KEY",
    help="Only this one of its keys, by id, hint or name. May be repeated.",
)
@click.option(
    "--output-dir",
    "folder",
    metavar="DIR",
    help="Where new tokens go that are not delivered, a file (0600) for each.",
)
@course_options
@once_option
@output_option
@calling
def replace(
    client: "Keyturn",
    output: Output,
    incident: str,
    keys: tuple[str, ...],
    folder: str | None,
    course: Course,
    idempotency_key: str | None,
    target: str | None,
) -> None:
    """Make a new key for each contained one that has none yet, in its slot, with its rights.

    Where a slot has destinations, its token goes there. A key that has its replacement is not
    given another, unless that was revoked.

    \b
    Examples:
      keyturn incidents replace 06aSDUtCJxNn2WzPHQ7kVt --deliver-to vault-prod --wait
      keyturn incidents replace 06aSDUtCJxNn2WzPHQ7kVt --output worker.token
      keyturn incidents replace 06aSDUtCJxNn2WzPHQ7kVt --output-dir new-tokens
    """
    if folder is not None and (target is not None or course.names):
        raise click.UsageError("Give --output-dir, --output or --deliver-to, one of them.")
    found = named_incident(client, incident)
    wanted = [key_of(found, one) for one in keys] or without_replacement(found, now())
    if not wanted:
        _tell_none(output, found)
        return
    _require_way(found, wanted, course, folder, target)
    if target is not None or (folder is None and len(wanted) == 1):
        handed = _replace_one(client, output, found, wanted[0], course, target, idempotency_key)
    else:
        handed = replace_into(
            client,
            found,
            wanted if keys else None,
            deliver_to=course.names,
            folder=folder,
            idempotency_key=idempotency_key,
        )
        _show(output, handed)
    for sentence in handed.lost:
        click.echo(harmless(f"keyturn: The token of {sentence}"), err=True)
    if handed.lost:
        raise click.exceptions.Exit(FAULT)
    _wait(client, output, handed, course)


def key_of(incident: Incident, text: str) -> IncidentKey:
    """The key of an incident that an argument names. Raises `CommandFailed`."""
    id_ = spelled_id(text)
    fitting = [one for one in incident.keys if one.key_id == id_ or one.name == text]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise CommandFailed(
            f"No key of incident {short(incident.id)} goes by {text}.",
            remedy=f"`keyturn incidents show {short(incident.id)}` lists its keys.",
            code=ABSENT,
        )
    listed = ", ".join(str(short(one.key_id)) for one in fitting)
    raise CommandFailed(
        f"{len(fitting)} keys go by {text}: {listed}.", remedy="Name one by its id.", code=WRONG
    )


def _require_way(
    incident: Incident,
    keys: list[IncidentKey],
    course: Course,
    folder: str | None,
    target: str | None,
) -> None:
    """Before anything is made. Raises a usage error."""
    if target is not None and len(keys) > 1:
        raise click.UsageError(
            f"--output is for one token, and {len(keys):,} keys wait for one: give --output-dir "
            "DIR, or name one with --key."
        )
    if course.names or target is not None or may_be_given(folder):
        return
    delivered = [] if course.names == () else delivered_by_slot(incident, keys)
    if len(delivered) < len(keys):
        option = "--output FILE" if len(keys) == 1 else "--output-dir DIR"
        raise click.UsageError(
            f"Standard output is no terminal; say where the tokens go with {option}, or with "
            "--deliver-to NAME."
        )


def _replace_one(
    client: "Keyturn",
    output: Output,
    incident: Incident,
    key: IncidentKey,
    course: Course,
    target: str | None,
    idempotency_key: str | None,
) -> Handed:
    with Handover(target, unsure=UNSURE, is_needed=False) as handover:
        made = client.incidents.replace(
            incident.id,
            key_ids=[key.key_id],
            deliver_to=course.names,
            idempotency_key=idempotency_key,
        )
        handed = Handed(replacements=made.replacements, places={}, lost=(), incident=made.incident)
        undelivered = [one for one in made.replacements if not one.deliveries]
        for one in undelivered:
            members = {name: getattr(made, name) for name in made.__struct_fields__}
            issued = Issued(
                what=f"a new key in the place of {key.name}",
                id=one.id,
                quiet_id=incident.id,
                members={**members, "replacements": members_of(handed)},
                token=one.token,
            )
            handover.deliver(output, issued, lambda one=one: taken_back(client, one))  # type: ignore[misc]
    if undelivered:
        _tell_next(output, made.incident)
    elif not made.replacements:
        _tell_none(output, made.incident)
    else:
        _show(output, handed)
        if target is not None:
            output.note(f"Nothing is written to {target}: the token is delivered.")
    return handed


def _show(output: Output, handed: Handed) -> None:
    if not handed.replacements:
        _tell_none(output, handed.incident)
    elif output.as_json:
        output.json({"replacements": members_of(handed), "incident": handed.incident})
    elif output.is_quiet:
        for one in handed.replacements:
            output.say(one.id)
    else:
        output.say(f"Made {counted(len(handed.replacements), 'new key')}.")
        show_replacements(output, handed)
        _tell_next(output, handed.incident)


def _tell_none(output: Output, incident: Incident) -> None:
    if output.as_json:
        output.json({"replacements": [], "incident": incident})
    elif not output.is_quiet:
        output.say("Each of these keys has its replacement already, or needs none.")
        tell_replaced_before(output, incident)
        _tell_next(output, incident)


def _tell_next(output: Output, incident: Incident) -> None:
    if not output.as_json:
        output.note(step_of(incident))
        output.note(f"  {command_of(incident, now())}")


def _wait(client: "Keyturn", output: Output, handed: Handed, course: Course) -> None:
    begun = [sent for one in handed.replacements for sent in one.deliveries]
    if course.wait_seconds is None or not begun:
        return
    ids = [one.id for one in handed.replacements if one.deliveries]
    deliveries, is_interrupted = await_deliveries(client, ids, begun, course.wait_seconds)
    tell_arrivals(output, deliveries, is_interrupted, "`keyturn deliveries list --state open`")
