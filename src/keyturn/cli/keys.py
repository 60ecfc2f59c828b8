"""`keyturn keys`: keys are made, listed, shown, changed, suspended, resumed, revoked, traced;
what their end would break stands in `impact.py`."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, cast

import click

from keyturn.cli.connection import calling
from keyturn.cli.consent import require_consent
from keyturn.cli.delivering import (
    Course,
    Sent,
    course_options,
    slot_of_new_key,
    tell_of_delivery,
)
from keyturn.cli.effect import effect_told, no_wait_option, note_effect
from keyturn.cli.handover import Handover, Issued, output_option
from keyturn.cli.impact import impact, impact_told
from keyturn.cli.naming import KEY_HELP, key_id, named_key, short
from keyturn.cli.notes import Notes, notes_options
from keyturn.cli.output import Column, Output, ago
from keyturn.cli.paged import Portion, paged
from keyturn.cli.repeating import once_option, version_option
from keyturn.cli.when import AHEAD
from keyturn.client.errors import KeyturnClientError
from keyturn.client.resources import ChangedKey, IssuedKey, Key

if TYPE_CHECKING:
    from keyturn.client import Keyturn
    from keyturn.client.keys import Reason, Status

_COLUMNS = (
    Column("id"),
    Column("name", wide=True),
    Column("status"),
    Column("owner", wide=True),
    Column("scopes", wide=True, optional=True),
    Column("rotate by", optional=True),
    Column("last used"),
)
_NODES = (
    Column("node"),
    Column("name", wide=True),
    Column("state"),
    Column("position", right=True),
)
_UNSURE = "`keyturn keys list` shows it; `keyturn keys revoke ID --reason unused` ends it."
_REASONS = ("superseded", "unused", "staff_change", "compromised", "other")


@click.group()
def keys() -> None:
    """Keys: one for each service and environment. The token is shown once, when it is made."""


@keys.command()
@click.argument("name", required=False)
@click.option("--service", help="Along with --environment, in place of NAME.")
@click.option("--environment", help="Along with --service, in place of NAME.")
@click.option("--scope", "scopes", multiple=True, metavar="WORD", help="May be repeated.")
@click.option("--permission", "permissions", multiple=True, metavar="WORD", help="May be repeated.")
@click.option("--cidr", "allowed_cidrs", multiple=True, metavar="BLOCK", help="May be repeated.")
@click.option("--expires", "expires_at", type=AHEAD, metavar="WHEN", help="90d, 12h, or a time.")
@click.option("--not-before", type=AHEAD, metavar="WHEN", help="It works only from then on.")
@click.option("--metadata", metavar="JSON", help="An object of your own, of at most 4 KiB.")
@click.option(
    "--replaces",
    metavar="KEY",
    help="Make it in the slot of this one, with its rights where none are given, and begin a "
    "rotation.",
)
@course_options
@once_option
@notes_options
@output_option
@calling
def create(
    client: "Keyturn",
    output: Output,
    name: str | None,
    service: str | None,
    environment: str | None,
    scopes: tuple[str, ...],
    permissions: tuple[str, ...],
    allowed_cidrs: tuple[str, ...],
    expires_at: datetime | None,
    not_before: datetime | None,
    metadata: str | None,
    replaces: str | None,
    course: Course,
    idempotency_key: str | None,
    notes: Notes,
    target: str | None,
) -> None:
    """Make a key. NAME is a service and an environment, like scheduler-prod.

    \b
    Examples:
      keyturn keys create scheduler-prod --scope read --owner payments@example.com
      keyturn keys create worker-prod --scope read --expires 90d --output worker.token
      keyturn keys create ci-test --scope read --output - | vault kv put secret/ci key=-
      keyturn keys create --replaces scheduler-prod --output scheduler.token
      keyturn keys create worker-prod --deliver-to vault-prod --wait
    """
    if name is None and service is None and replaces is None:
        raise click.UsageError("Give a NAME like scheduler-prod, or --service and --environment.")
    is_delivered = bool(course.names is None and notes["destinations"]) or course.is_delivered(
        client, target, lambda: slot_of_new_key(client, name, service, environment, replaces)
    )
    with Handover(target, unsure=_UNSURE, is_needed=not is_delivered) as handover:
        made = client.keys.create(
            name,
            service=service,
            environment=environment,
            scopes=scopes or None,
            permissions=permissions or None,
            allowed_cidrs=allowed_cidrs or None,
            expires_at=expires_at,
            not_before=not_before,
            metadata=_object(metadata),
            replaces=None if replaces is None else key_id(client, replaces),
            deliver_to=course.names,
            idempotency_key=idempotency_key,
            **notes,
        )
        if not made.deliveries:
            issued = Issued(what=_named(made), id=made.id, members=_members(made), token=made.token)
            handover.deliver(output, issued, lambda: _taken_back(client, made.id))
            for note in () if output.as_json else _notes_of(made):
                output.note(note)
    if made.deliveries:
        sent = Sent(
            what=f"Made {_named(made)}, id {short(made.id)}",
            key_id=made.id,
            members=_members(made),
            deliveries=made.deliveries,
            notes=_notes_of(made),
        )
        tell_of_delivery(client, output, sent, course, target)


@keys.command("list")
@click.option(
    "--status",
    type=click.Choice(["active", "suspended", "revoked", "expired", "all"]),
    default="active",
    show_default=True,
)
@click.option("--service")
@click.option("--environment")
@click.option("--owner")
@click.option("--created-by", metavar="ID", help="The id of a key or an operator.")
@paged
@calling
def list_(
    client: "Keyturn",
    output: Output,
    status: str,
    service: str | None,
    environment: str | None,
    owner: str | None,
    created_by: str | None,
    portion: Portion,
) -> None:
    """List keys, newest first.

    \b
    Examples:
      keyturn keys list --owner payments@example.com
      keyturn keys list --status all --environment prod --json
    """
    found = client.keys.list(
        status=cast("Status", status),
        service=service,
        environment=environment,
        owner=owner,
        created_by=created_by,
        limit=portion.page_size,
    )
    portion.show(output, found, _COLUMNS, _row, lambda key: key.id)


@keys.command(epilog=KEY_HELP)
@click.argument("key")
@calling
def show(client: "Keyturn", output: Output, key: str) -> None:
    """Show a key.

    \b
    Examples:
      keyturn keys show scheduler-prod
      keyturn keys show kt_prod_06aSDUtCJxNn2WzPHQ7kVt --json
    """
    _show(output, named_key(client, key))


@keys.command(epilog=KEY_HELP)
@click.argument("key")
@click.option("--name", help="Its new label; the slot stays.")
@click.option("--scope", "scopes", multiple=True, metavar="WORD", help="All it has; repeat it.")
@click.option("--no-scopes", is_flag=True, help="Take all scopes away.")
@click.option("--permission", "permissions", multiple=True, metavar="WORD", help="All it has.")
@click.option("--no-permissions", is_flag=True, help="Take all permissions away.")
@click.option("--cidr", "allowed_cidrs", multiple=True, metavar="BLOCK", help="All its networks.")
@click.option("--any-network", is_flag=True, help="Let it be used from any network.")
@click.option("--expires", "expires_at", type=AHEAD, metavar="WHEN", help="90d, 12h, or a time.")
@click.option("--metadata", metavar="JSON", help="In place of what it has.")
@version_option
@no_wait_option
@notes_options
@calling
def update(
    client: "Keyturn",
    output: Output,
    key: str,
    name: str | None,
    scopes: tuple[str, ...],
    no_scopes: bool,
    permissions: tuple[str, ...],
    no_permissions: bool,
    allowed_cidrs: tuple[str, ...],
    any_network: bool,
    expires_at: datetime | None,
    metadata: str | None,
    version: int | None,
    respond_async: bool,
    notes: Notes,
) -> None:
    """Change a key: what is given is set, the rest stays. Effective at once, everywhere.

    \b
    Examples:
      keyturn keys update scheduler-prod --scope read --scope pins:publish
      keyturn keys update scheduler-prod --cidr 10.0.0.0/8 --owner payments@example.com
    """
    all_scopes = _all(scopes, "--scope", no_scopes, "--no-scopes")
    all_permissions = _all(permissions, "--permission", no_permissions, "--no-permissions")
    all_cidrs = _all(allowed_cidrs, "--cidr", any_network, "--any-network")
    changed_metadata = _object(metadata)
    changed = client.keys.change(
        key_id(client, key),
        version=version,
        name=name,
        scopes=all_scopes,
        permissions=all_permissions,
        allowed_cidrs=all_cidrs,
        expires_at=expires_at,
        metadata=changed_metadata,
        respond_async=respond_async,
        **notes,
    )
    _show_changed(output, changed)


@keys.command(epilog=KEY_HELP)
@click.argument("key")
@click.option(
    "--reason",
    type=click.Choice(_REASONS),
    default="other",
    show_default=True,
    help="Of `compromised` the key is marked for ever.",
)
@version_option
@no_wait_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@calling
def revoke(
    client: "Keyturn",
    output: Output,
    key: str,
    reason: str,
    version: int | None,
    respond_async: bool,
    yes: bool,
) -> None:
    """Revoke a key for ever. When this returns, it is dead on every verifier.

    \b
    Examples:
      keyturn keys revoke scheduler-prod --reason superseded
      keyturn keys revoke kt_prod_0B7cKpQ2… --reason compromised --yes
    """
    found = named_key(client, key)
    if not yes and found.status != "revoked":
        weighed = impact_told(client, found.id)
        require_consent(
            f"Revoke {found.name} ({found.hint}…, last used: {_last_used(found)})? "
            f"{weighed}It cannot be undone."
        )
    effect = client.keys.revoke(
        found.id, reason=cast("Reason", reason), version=version, respond_async=respond_async
    )
    if output.as_json:
        output.json({"id": found.id, "name": found.name, "effect": effect})
    elif output.is_quiet:
        output.say(found.id)
    elif effect.is_complete:
        told = effect_told(effect)
        output.say(
            f"Revoked {found.name} ({found.hint}…): no verifier accepts it any more ({told})."
        )
    else:
        output.say(f"Revoked {found.name} ({found.hint}…): {effect_told(effect)}.")
    if effect.incident_id is not None and not output.as_json:
        output.note(
            f"Incident {short(effect.incident_id)} has it; what is next: `keyturn incidents show "
            f"{short(effect.incident_id)}`."
        )


@keys.command(epilog=KEY_HELP)
@click.argument("key")
@version_option
@no_wait_option
@once_option
@calling
def suspend(
    client: "Keyturn",
    output: Output,
    key: str,
    version: int | None,
    respond_async: bool,
    idempotency_key: str | None,
) -> None:
    """Take a key out of use, until it is resumed. Effective at once, everywhere.

    \b
    Examples:
      keyturn keys suspend scheduler-prod
    """
    id_ = key_id(client, key)
    suspended = client.keys.suspend(
        id_, version=version, idempotency_key=idempotency_key, respond_async=respond_async
    )
    _show_changed(output, suspended)


@keys.command(epilog=KEY_HELP)
@click.argument("key")
@version_option
@no_wait_option
@once_option
@calling
def resume(
    client: "Keyturn",
    output: Output,
    key: str,
    version: int | None,
    respond_async: bool,
    idempotency_key: str | None,
) -> None:
    """Let a suspended key work again.

    \b
    Examples:
      keyturn keys resume scheduler-prod
    """
    id_ = key_id(client, key)
    resumed = client.keys.resume(
        id_, version=version, idempotency_key=idempotency_key, respond_async=respond_async
    )
    _show_changed(output, resumed)


@keys.command(epilog=KEY_HELP)
@click.argument("key")
@calling
def trace(client: "Keyturn", output: Output, key: str) -> None:
    """Show where a key's last change has arrived: on which verifiers.

    \b
    Examples:
      keyturn keys trace scheduler-prod
    """
    found = client.keys.trace(key_id(client, key))
    if output.as_json:
        output.json(found)
    elif output.is_quiet:
        output.say(found.key_id)
    else:
        output.record(
            [
                ("key", found.key_id),
                ("changed", found.changed_at),
                ("position", found.position),
                ("state", found.state),
            ]
        )
        click.echo()
        output.table(
            _NODES, [(short(one.id), one.name, one.state, one.position) for one in found.nodes]
        )


keys.add_command(impact)


def _members(made: IssuedKey) -> dict[str, object]:
    """What the API answered, and the rotation where one has begun."""
    members = {one: getattr(made, one) for one in made.__struct_fields__}
    if made.rotation_id is None:
        del members["rotation_id"]
    return members


def _notes_of(made: IssuedKey) -> tuple[str, ...]:
    if made.rotation_id is None:
        return ()
    watch = f"keyturn rotations watch {made.slot}"
    return (f"Its rotation is {short(made.rotation_id)}; look on with `{watch}`.",)


def _taken_back(client: "Keyturn", id_: str) -> str:
    try:
        client.keys.revoke(id_, reason="unused")
    except KeyturnClientError as error:
        return (
            f"the key lives and nobody has its token, since it cannot be revoked now ({error}). "
            f"`keyturn keys revoke {id_} --reason unused` does it."
        )
    return "the key was revoked again."


def _show(output: Output, key: Key) -> None:
    if output.as_json:
        output.json(key)
        return
    if output.is_quiet:
        output.say(key.id)
        return
    output.record(
        [
            ("id", key.id),
            ("hint", f"{key.hint}…"),
            ("name", key.name),
            ("slot", key.slot),
            ("status", key.status),
            ("owner", key.owner),
            ("purpose", key.purpose),
            ("runbook", key.runbook_url),
            ("scopes", key.scopes),
            ("permissions", key.permissions),
            ("networks", key.allowed_cidrs or "any"),
            ("metadata", json.dumps(key.metadata) if key.metadata else None),
            ("created", key.created_at),
            ("not before", key.not_before),
            ("expires", key.expires_at or "never"),
            ("rotate by", key.rotate_by),
            ("last used", key.last_used_at or "never"),
            ("revoked", key.revoked_at),
            ("reason", key.revocation_reason),
            ("version", str(key.version)),
        ]
    )


def _show_changed(output: Output, key: ChangedKey) -> None:
    members = {one: getattr(key, one) for one in Key.__struct_fields__}
    _show(output, Key(**members))
    note_effect(output, key.effect)


def _row(key: Key) -> tuple[object, ...]:
    return (
        short(key.id),
        key.name,
        key.status,
        key.owner,
        key.scopes,
        None if key.rotate_by is None else key.rotate_by.date().isoformat(),
        _last_used(key),
    )


def _last_used(key: Key) -> str:
    """A key that manages or verifies is at work without being verified itself, so `never` would
    mislead who looks for keys that nobody needs."""
    return "-" if key.last_used_at is None and key.permissions else ago(key.last_used_at)


def _named(made: Key) -> str:
    return made.name if made.name == made.slot else f"{made.name} in slot {made.slot}"


def _all(
    given: tuple[str, ...], option: str, is_none: bool, none_option: str
) -> tuple[str, ...] | None:
    if given and is_none:
        raise click.UsageError(f"Give {option} or {none_option}, but not both.")
    return () if is_none else given or None


def _object(text: str | None) -> dict[str, object] | None:
    if text is None:
        return None
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half a character is none
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise click.UsageError('--metadata takes a JSON object, like {"team": "payments"}.')
    return value


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
