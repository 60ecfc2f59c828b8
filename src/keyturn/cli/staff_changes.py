"""`keyturn staff-changes`: somebody has left; what that person knew, and new keys for it."""

from typing import TYPE_CHECKING

import click

from keyturn.cli.connection import calling
from keyturn.cli.ending import FAULT
from keyturn.cli.handover_many import TokenFolder
from keyturn.cli.naming import short
from keyturn.cli.output import Column, Output, counted, harmless
from keyturn.client.errors import KeyturnClientError
from keyturn.client.rotation_records import StaffChange, StaffKey
from keyturn.domain.slot import SlotName

if TYPE_CHECKING:
    from keyturn.client import Keyturn

_COLUMNS = (
    Column("key"),
    Column("name", wide=True),
    Column("status"),
    Column("because"),
    Column("rotation", optional=True),
    Column("token", wide=True),
)
_UNSURE = (
    "`keyturn rotations list --state open` shows what has begun; `keyturn rotations rollback` \
takes one back."
)


@click.command()
@click.argument("person")
@click.option("--rotate", is_flag=True, help="Begin a rotation for each key that is active.")
@click.option(
    "--output-dir",
    "folder",
    metavar="DIR",
    help="With --rotate: where the new tokens go, a file (0600) for each. Needed where standard "
    "output is no terminal.",
)
@calling
def staff_changes(
    client: "Keyturn",
    output: Output,
    person: str,
    rotate: bool,
    folder: str | None,
) -> None:
    """List the keys that a person owned, made or was shown; with --rotate, replace them.

    The old keys work on until each workload has moved, as in any rotation.

    \b
    Examples:
      keyturn staff-changes ada@example.com
      keyturn staff-changes ada@example.com --rotate --output-dir new-tokens
    """
    if folder is not None and not rotate:
        raise click.UsageError("--output-dir goes with --rotate: else there is no token.")
    if not rotate:
        found = client.staff_changes.report(person)
        _show(output, found, {})
        return
    with TokenFolder(folder, unsure=_UNSURE) as tokens:
        found = client.staff_changes.report(person, rotate=True)
        places: dict[str, str] = {}
        lost = []
        for one in found.keys:
            if one.api_key is None:
                continue
            try:
                places[one.key_id] = tokens.put(_file_name(one), one.api_key)
            except OSError as error:
                lost.append(f"{one.name}: {error.strerror}; {_taken_back(client, one)}")
    _show(output, found, places)
    for sentence in lost:
        click.echo(harmless(f"keyturn: The token of {sentence}"), err=True)
    if lost:
        raise click.exceptions.Exit(FAULT)


def _file_name(one: StaffKey) -> str:
    """By the new key, whose id no other has; what a server calls a slot is no path."""
    slot = SlotName.parse(one.slot) or "key"
    return f"{slot}-{short(one.new_key_id)}.token"


def _taken_back(client: "Keyturn", one: StaffKey) -> str:
    try:
        client.rotations.rollback(
            str(one.rotation_id), reason="Its token could not be handed over."
        )
    except KeyturnClientError as error:
        return f"its rotation goes on, since it cannot be rolled back now ({error})."
    return "its rotation was rolled back."


def _show(output: Output, found: StaffChange, places: dict[str, str]) -> None:
    if output.as_json:
        keys = [
            {**{name: getattr(one, name) for name in one.__struct_fields__}, "api_key": None}
            | ({"file": places[one.key_id]} if one.key_id in places else {})
            for one in found.keys
        ]
        output.json({"person": found.person, "keys": keys})
        return
    if output.is_quiet:
        for one in found.keys:
            output.say(one.key_id)
        return
    output.table(_COLUMNS, [_row(one, places) for one in found.keys])
    begun = sum(one.rotation_id is not None for one in found.keys)
    if begun:
        output.note(
            f"{counted(begun, 'rotation')} for what {found.person} knew. Next: deploy the new "
            "tokens, and look on."
        )
        output.note("  keyturn rotations list --state open")
    elif any(one.status == "active" for one in found.keys):
        output.note("--rotate replaces those that are active.")


def _course(one: StaffKey) -> str | None:
    if one.deliveries:
        return f"goes to {', '.join(sent.destination for sent in one.deliveries)}"
    return "not given" if one.rotation_id else None


def _row(one: StaffKey, places: dict[str, str]) -> tuple[object, ...]:
    return (
        short(one.key_id),
        one.name,
        one.status,
        one.because,
        one.refused or short(one.rotation_id),
        places.get(one.key_id) or _course(one),
    )
