"""`keyturn slots`: services in environments, and what people say of them."""

from typing import TYPE_CHECKING

import click

from keyturn.cli.connection import calling
from keyturn.cli.notes import Notes, notes_options
from keyturn.cli.output import Column, Output
from keyturn.cli.paged import Portion, paged
from keyturn.cli.repeating import version_option
from keyturn.client.resources import ExpectedRuntime, Slot
from keyturn.domain.slot import SlotName

if TYPE_CHECKING:
    from keyturn.client import Keyturn

_COLUMNS = (
    Column("slot"),
    Column("owner", wide=True),
    Column("purpose", wide=True),
    Column("rotate every"),
    Column("runtimes", wide=True),
    Column("destinations", wide=True, optional=True),
    Column("runbook", wide=True, optional=True),
)


@click.group()
def slots() -> None:
    """Slots: a service in an environment, like scheduler-prod. Its keys come and go."""


@slots.command("list")
@click.option("--service")
@click.option("--environment")
@click.option("--owner")
@paged
@calling
def list_(
    client: "Keyturn",
    output: Output,
    service: str | None,
    environment: str | None,
    owner: str | None,
    portion: Portion,
) -> None:
    """List slots, newest first.

    \b
    Examples:
      keyturn slots list --environment prod
      keyturn slots list --owner payments@example.com --json
    """
    found = client.slots.list(
        service=service, environment=environment, owner=owner, limit=portion.page_size
    )
    portion.show(output, found, _COLUMNS, _row, lambda slot: slot.name)


@slots.command()
@click.argument("slot")
@calling
def show(client: "Keyturn", output: Output, slot: str) -> None:
    """Show a slot.

    \b
    Examples:
      keyturn slots show scheduler-prod
    """
    _show(output, client.slots.read(_name(slot)))


@slots.command("set")
@click.argument("slot")
@version_option
@click.option("--if-new", "is_new", is_flag=True, help="Only if there is none yet.")
@notes_options
@calling
def set_(
    client: "Keyturn",
    output: Output,
    slot: str,
    version: int | None,
    is_new: bool,
    notes: Notes,
) -> None:
    """Make a slot, or say all of it anew: what is left out is taken away.

    Only an administrator changes a slot's destinations; who is none repeats them as they are.

    \b
    Examples:
      keyturn slots set scheduler-prod --owner payments@example.com --rotation-days 90 \\
        --runbook https://example.com/runbooks/scheduler --runtime nightly=26h
      keyturn slots set worker-prod --owner payments@example.com --destination vault-prod
    """
    if is_new and version is not None:
        raise click.UsageError("Give --if-new or --if-version, but not both.")
    _show(output, client.slots.define(_name(slot), version=version, is_new=is_new, **notes))


@slots.command()
@click.option("--service")
@click.option("--environment")
@click.option("--owner")
@calling
def export(
    client: "Keyturn",
    output: Output,
    service: str | None,
    environment: str | None,
    owner: str | None,
) -> None:
    """Write all slots in the form that `keyturn apply` takes, sorted.

    \b
    Examples:
      keyturn slots export > slots.yaml
      keyturn slots export --owner payments@example.com > payments.yaml
    """
    from keyturn.cli.slot_yaml import exported, yaml_lines

    found = client.slots.list(service=service, environment=environment, owner=owner, limit=1_000)
    slots_by_name = exported(found)
    if output.as_json:
        output.json({"slots": slots_by_name})
        return
    for line in slots_by_name if output.is_quiet else yaml_lines(slots_by_name):
        output.say(line)


def _show(output: Output, slot: Slot) -> None:
    if output.as_json:
        output.json(slot)
        return
    if output.is_quiet:
        output.say(slot.name)
        return
    output.record(
        [
            ("slot", slot.name),
            ("owner", slot.owner),
            ("purpose", slot.purpose),
            ("runbook", slot.runbook_url),
            ("rotate every", _period(slot)),
            ("runtimes", [_runtime(one) for one in slot.runtimes]),
            ("destinations", slot.destinations),
            ("created", slot.created_at),
            ("updated", slot.updated_at),
            ("version", str(slot.version)),
        ]
    )


def _row(slot: Slot) -> tuple[object, ...]:
    runtimes = [one.name for one in slot.runtimes]
    return (
        slot.name,
        slot.owner,
        slot.purpose,
        _period(slot),
        runtimes,
        slot.destinations,
        slot.runbook_url,
    )


def _name(text: str) -> str:
    if SlotName.parse(text) is None:
        raise click.UsageError(
            f"{text!r} names no slot. SLOT is a service and an environment, like scheduler-prod."
        )
    return text


def _period(slot: Slot) -> str | None:
    days = slot.rotation_period_days
    return None if days is None else f"{days} days"


def _runtime(runtime: ExpectedRuntime) -> str:
    seconds = runtime.max_call_interval_seconds
    return runtime.name if seconds is None else f"{runtime.name} (at most every {seconds:,} s)"
