"""`keyturn contain`: the one line at 3 a.m., from a leaked string to keys that nobody can use.

It asks nothing where a token, an id or a hint is given. What it answers stands in this order: what
happened, what is contained, what is left to do, the one next step.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from keyturn.cli.connection import calling, client_in
from keyturn.cli.containing import contain_exposed, exposed_by, refuse_unmatched, tell_where
from keyturn.cli.delivering import Course
from keyturn.cli.ending import FAULT, CommandFailed
from keyturn.cli.exposed import Exposed, find_exposed
from keyturn.cli.exposed_input import STANDARD_INPUT, exposed_text
from keyturn.cli.incident_terms import (
    Terms,
    members_of,
    tell_contained,
    tell_what_is_left,
    terms_options,
)
from keyturn.cli.incident_tokens import (
    Handed,
    delivered_by_slot,
    may_be_given,
    replace_into,
    show_replacements,
    tell_replaced_before,
    without_replacement,
)
from keyturn.cli.incident_tokens import members_of as members_of_handed
from keyturn.cli.output import Output, harmless
from keyturn.cli.repeating import once_option
from keyturn.cli.when import now
from keyturn.client.errors import KeyturnClientError
from keyturn.client.incident_records import Incident, IncidentKey, OpenedIncident

if TYPE_CHECKING:
    from keyturn.client import Keyturn


@click.command()
@click.argument("keys", nargs=-1, metavar="[-|KEY]...")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="A text with what was found, instead of standard input.",
)
@terms_options
@click.option("--replace", "is_replaced", is_flag=True, help="Make new keys at once.")
@click.option(
    "--deliver",
    "is_delivered",
    is_flag=True,
    help="With --replace: new tokens go to the destinations of their slots, and nowhere else.",
)
@click.option(
    "--deliver-to",
    multiple=True,
    metavar="NAME",
    help="With --replace: to this destination. May be repeated.",
)
@click.option(
    "--output-dir",
    "folder",
    metavar="DIR",
    help="With --replace: new tokens that are not delivered go there, a file (0600) for each.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask where a key is named by a slot.")
@once_option
@calling
def contain(
    client: "Keyturn",
    output: Output,
    keys: tuple[str, ...],
    token_file: str | None,
    terms: Terms,
    is_replaced: bool,
    is_delivered: bool,
    deliver_to: tuple[str, ...],
    folder: str | None,
    yes: bool,
    idempotency_key: str | None,
) -> None:
    """A key has leaked: end it, now, and see what is to be done next.

    Reads standard input: a token, with whatever text around it, or a key's id or hint; as many as
    there are. When it answers, no verifier accepts them. It finds the workspace by itself, and asks
    nothing. A token is never an argument; an id, a hint, or a slot that has one key may be.

    \b
    Examples:
      keyturn contain -
      keyturn contain - --replace --deliver < alert.txt
      keyturn contain kt_prod_06aSDUtCJxNn2WzPHQ7kVt --found-url https://gist.example/1
      keyturn contain --token-file leaked.log --exposed-since 3d --suspend
    """
    if (is_delivered or deliver_to or folder) and not is_replaced:
        raise click.UsageError("--deliver, --deliver-to and --output-dir go with --replace.")
    if sum(map(bool, (is_delivered, deliver_to, folder))) > 1:
        raise click.UsageError("Give --deliver, --deliver-to or --output-dir, one of them.")
    found = _found(client, keys, token_file, yes)
    contained = contain_exposed(client, found, terms, idempotency_key)
    is_whole = True
    course = Course(names=deliver_to or None, wait_seconds=None)
    for at, opened in enumerate(contained.opened):
        if at and not (output.as_json or output.is_quiet):
            click.echo()
        _tell_contained(output, opened)
        with client_in(opened.workspace_id) as inside:
            is_whole &= _follow(inside, output, opened, course, folder, is_replaced, is_delivered)
    refuse_unmatched(contained)
    if not is_whole:
        raise click.exceptions.Exit(FAULT)


def _found(
    client: "Keyturn", keys: tuple[str, ...], token_file: str | None, yes: bool
) -> list[Exposed]:
    """What is to be contained: of the text, and of the arguments."""
    names = [one for one in keys if one != STANDARD_INPUT]
    if token_file is not None and keys:
        raise click.UsageError("Give --token-file or arguments, but not both.")
    if token_file is not None:
        return find_exposed(exposed_text(token_file))
    found = find_exposed(exposed_text(STANDARD_INPUT)) if len(names) < len(keys) or not keys else []
    for name in names:
        found += exposed_by(client, name, yes)
    return found


def _tell_contained(output: Output, opened: OpenedIncident) -> None:
    if output.is_quiet and not output.as_json:
        output.say(opened.id)
    elif not output.as_json:
        tell_contained(opened)
        tell_where(output, opened)


def _follow(
    client: "Keyturn",
    output: Output,
    opened: OpenedIncident,
    course: Course,
    folder: str | None,
    is_replaced: bool,
    is_delivered: bool,
) -> bool:
    """Replaces what is to be, and tells what is left; whether all of that was done."""
    if not is_replaced:
        _tell_rest(client, output, opened, opened, None)
        return True
    missing = without_replacement(opened, now())
    try:
        ready = _deliverable(opened, missing, course, folder, is_delivered)
        handed = (
            replace_into(
                client,
                opened,
                None if ready == missing else ready,
                deliver_to=course.names,
                folder=folder,
            )
            if ready
            else None
        )
    except (KeyturnClientError, CommandFailed, KeyboardInterrupt):
        # The keys are dead, and that is told before what has gone wrong.
        _tell_rest(client, output, opened, opened, None)
        raise
    others = [one.name for one in missing if one not in ready]
    _tell_rest(client, output, opened, handed.incident if handed else opened, handed, others)
    return not others and not (handed and handed.lost)


def _deliverable(
    opened: OpenedIncident,
    missing: list[IncidentKey],
    course: Course,
    folder: str | None,
    is_delivered: bool,
) -> list[IncidentKey]:
    """The keys whose new tokens have somewhere to go."""
    if course.names or (may_be_given(folder) and not is_delivered):
        return missing
    return delivered_by_slot(opened, missing)


def _tell_rest(
    client: "Keyturn",
    output: Output,
    opened: OpenedIncident,
    incident: Incident,
    handed: Handed | None,
    others: Sequence[str] | None = None,
) -> None:
    """`others` are keys whose new tokens would have nowhere to go, None where none was asked for or
    made."""
    if output.as_json:
        after = {name: getattr(incident, name) for name in Incident.__struct_fields__}
        made = [] if handed is None else members_of_handed(handed)
        output.json({**members_of(opened), **after, "replacements": made})
    elif handed is not None and not output.is_quiet:
        click.echo()
        show_replacements(output, handed)
    for sentence in handed.lost if handed else ():
        click.echo(harmless(f"keyturn: The token of {sentence}"), err=True)
    if others:
        output.note(
            f"No new key for {', '.join(others[:20])}: the slot names no destination that its "
            "token could go to."
        )
    if not (output.as_json or output.is_quiet):
        if others is not None and not (handed and handed.replacements):
            tell_replaced_before(output, incident)
        click.echo()
        tell_what_is_left(client, incident, " --output-dir new-tokens" if others else "")
