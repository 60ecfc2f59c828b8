"""`keyturn channels`: where a workspace is told of events, by webhook or by mail."""

from typing import TYPE_CHECKING, cast

import click

from keyturn.cli.connection import calling
from keyturn.cli.consent import require_consent
from keyturn.cli.handover import SECRET, Handover, Issued, secret_output_option
from keyturn.cli.messages import show_message
from keyturn.cli.naming import named_channel, short
from keyturn.cli.output import Column, Output, ago, counted
from keyturn.cli.paged import Portion, paged
from keyturn.cli.repeating import once_option, version_option
from keyturn.cli.when import BACK, SPAN
from keyturn.client.channel_records import Channel, MadeChannel

if TYPE_CHECKING:
    from datetime import datetime

    from keyturn.client import Keyturn
    from keyturn.client.channels import ChannelKind, ChannelState

_COLUMNS = (
    Column("id"),
    Column("name", wide=True),
    Column("kind"),
    Column("state"),
    Column("events", wide=True, optional=True),
    Column("waiting", right=True),
    Column("dead", right=True),
    Column("last sent"),
)
_HELP = "CHANNEL is a name, an id, or the beginning of one."
_UNSURE = "`keyturn channels list` shows it; `keyturn channels delete CHANNEL` takes it away."


@click.group()
def channels() -> None:
    """Channels tell a workspace of what happens: rotations, expiry, findings."""


@channels.command()
@click.argument("name")
@click.option("--to", "receiver", metavar="URL", help="A webhook: where it is sent to.")
@click.option(
    "--address", "addresses", multiple=True, metavar="MAIL", help="Mail: to whom. May be repeated."
)
@click.option("--to-owners", is_flag=True, help="Mail: to the owner of the event's slot, too.")
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="TYPE",
    help="Like rotation.completed or finding.*; may be repeated. Without it, all.",
)
@once_option
@secret_output_option
@calling
def create(
    client: "Keyturn",
    output: Output,
    name: str,
    receiver: str | None,
    addresses: tuple[str, ...],
    to_owners: bool,
    events: tuple[str, ...],
    idempotency_key: str | None,
    target: str | None,
) -> None:
    """Make a channel: a webhook with --to, mail with --address or --to-owners.

    The signing secret of a webhook is shown this once; its receiver needs it.

    \b
    Examples:
      keyturn channels create hooks --to https://hooks.example.com/k --output hook.secret
      keyturn channels create on-call --address ops@example.com --event 'finding.*'
      keyturn channels create owners --to-owners --event finding.opened
    """
    kind = "webhook" if receiver is not None else "email"
    if receiver is None and not addresses and not to_owners:
        raise click.UsageError("Give --to for a webhook, or --address or --to-owners for mail.")

    def make() -> MadeChannel:
        return client.channels.create(
            cast("ChannelKind", kind),
            name,
            url=receiver,
            addresses=addresses or None,
            to_owners=to_owners or None,
            events=events or None,
            idempotency_key=idempotency_key,
        )

    if kind == "email":
        _tell(output, make(), "Made")
        return
    with Handover(target, unsure=_UNSURE, noun=SECRET) as handover:
        made = make()
        handover.deliver(output, _issued(made, "channel"), lambda: _taken_back(client, made.id))


@channels.command("list")
@paged
@calling
def list_(client: "Keyturn", output: Output, portion: Portion) -> None:
    """List channels, newest first.

    \b
    Examples:
      keyturn channels list
    """
    found = client.channels.list(limit=portion.page_size)
    portion.show(output, found, _COLUMNS, _row, lambda one: one.id)


@channels.command(epilog=_HELP)
@click.argument("channel")
@calling
def show(client: "Keyturn", output: Output, channel: str) -> None:
    """Show a channel.

    \b
    Examples:
      keyturn channels show hooks
    """
    _show(output, named_channel(client, channel))


@channels.command(epilog=_HELP)
@click.argument("channel")
@click.option("--name", metavar="TEXT", help="What it is called.")
@click.option("--to", "receiver", metavar="URL", help="A webhook: where it is sent to.")
@click.option("--address", "addresses", multiple=True, metavar="MAIL", help="All there are to be.")
@click.option("--to-owners/--not-to-owners", default=None, help="Mail to the owners of slots.")
@click.option("--event", "events", multiple=True, metavar="TYPE", help="All there are to be.")
@click.option(
    "--state",
    type=click.Choice(["active", "paused"]),
    help="What is paused gathers messages and sends none; active tries a disabled one again.",
)
@version_option
@calling
def update(
    client: "Keyturn",
    output: Output,
    channel: str,
    name: str | None,
    receiver: str | None,
    addresses: tuple[str, ...],
    to_owners: bool | None,
    events: tuple[str, ...],
    state: str | None,
    version: int | None,
) -> None:
    """Change a channel, pause it, or try it again.

    \b
    Examples:
      keyturn channels update hooks --event 'rotation.*' --event 'finding.*'
      keyturn channels update hooks --state active
    """
    changed = client.channels.change(
        named_channel(client, channel).id,
        name=name,
        url=receiver,
        addresses=addresses or None,
        to_owners=to_owners,
        events=events or None,
        state=cast("ChannelState | None", state),
        version=version,
    )
    _show(output, changed)


@channels.command(epilog=_HELP)
@click.argument("channel")
@click.option("--yes", is_flag=True, help="Without asking.")
@version_option
@calling
def delete(client: "Keyturn", output: Output, channel: str, yes: bool, version: int | None) -> None:
    """Take a channel away; what waits for it is not sent.

    \b
    Examples:
      keyturn channels delete hooks --yes
    """
    found = named_channel(client, channel)
    if not yes:
        waiting = counted(found.messages_waiting, "message")
        require_consent(f"Delete channel {found.name}, for which {waiting} wait?")
    client.channels.delete(found.id, version=version)
    if output.as_json:
        output.json({"id": found.id, "deleted": True})
    elif output.is_quiet:
        output.say(found.id)
    else:
        output.say(f"Channel {found.name} is deleted.")


@channels.command("rotate-secret", epilog=_HELP)
@click.argument("channel")
@click.option(
    "--overlap",
    "overlap_seconds",
    type=SPAN,
    metavar="SPAN",
    help="How long the old one signs along: 1h, 7d; a day where nothing is said.",
)
@once_option
@secret_output_option
@calling
def rotate_secret(
    client: "Keyturn",
    output: Output,
    channel: str,
    overlap_seconds: int | None,
    idempotency_key: str | None,
    target: str | None,
) -> None:
    """Give a webhook a new signing secret beside the old one. Both sign for a while.

    \b
    Examples:
      keyturn channels rotate-secret hooks --output hook.secret.new
    """
    id_ = named_channel(client, channel).id
    unsure = "The old secret signs along; the same command makes another."
    with Handover(target, unsure=unsure, noun=SECRET) as handover:
        made = client.channels.rotate_secret(
            id_, overlap_seconds=overlap_seconds, idempotency_key=idempotency_key
        )
        issued = _issued(made, "another secret for channel")
        handover.deliver(output, issued, lambda: "the old secret signs along for its overlap.")


@channels.command(epilog=_HELP)
@click.argument("channel")
@once_option
@calling
def test(client: "Keyturn", output: Output, channel: str, idempotency_key: str | None) -> None:
    """Send a trial, by the way that all messages take.

    \b
    Examples:
      keyturn channels test hooks
    """
    id_ = named_channel(client, channel).id
    message = client.channels.test(id_, idempotency_key=idempotency_key)
    if output.as_json or output.is_quiet:
        show_message(output, message)
        return
    output.say(f"A trial is on its way: message {short(message.id)}.")
    output.note(f"See what became of it: `keyturn messages show {short(message.id)}`.")


@channels.command(epilog=_HELP)
@click.argument("channel")
@click.option("--since", type=BACK, metavar="WHEN", help="1h, 30d, or a time.")
@click.option("--until", type=BACK, metavar="WHEN", help="Not those from then on.")
@once_option
@calling
def replay(
    client: "Keyturn",
    output: Output,
    channel: str,
    since: "datetime | None",
    until: "datetime | None",
    idempotency_key: str | None,
) -> None:
    """Send anew all that a channel was not given, in order.

    \b
    Examples:
      keyturn channels replay hooks --since 2d
    """
    id_ = named_channel(client, channel).id
    replayed = client.channels.replay(
        id_, since=since, until=until, idempotency_key=idempotency_key
    )
    if output.as_json:
        output.json(replayed)
    else:
        output.say(f"{counted(replayed.messages, 'message')} to be sent anew.")


def _issued(made: MadeChannel, what: str) -> Issued:
    return Issued(
        what=f"{what} {made.name}",
        id=made.id,
        members=_members(made),
        token=made.signing_secret,
        noun=SECRET,
        member="secret",
    )


def _members(made: MadeChannel) -> dict[str, object]:
    return {name: getattr(made, name) for name in made.__struct_fields__ if name != "secret"}


def _taken_back(client: "Keyturn", id_: str) -> str:
    client.channels.delete(id_)
    return "the channel was deleted again."


def _tell(output: Output, made: MadeChannel, verb: str) -> None:
    if output.as_json:
        output.json({**_members(made), "secret": None})
    elif output.is_quiet:
        output.say(made.id)
    else:
        output.say(f"{verb} channel {made.name}, id {short(made.id)}.")


def _show(output: Output, one: Channel) -> None:
    if output.as_json:
        output.json(one)
        return
    if output.is_quiet:
        output.say(one.id)
        return
    output.record(
        [
            ("id", one.id),
            ("name", one.name),
            ("kind", one.kind),
            ("state", one.state),
            ("reason", one.reason),
            ("url", one.url),
            ("addresses", one.addresses),
            ("to owners", one.to_owners),
            ("events", one.events),
            ("signing secrets", [secret.created_at for secret in one.secrets]),
            ("waiting", one.messages_waiting),
            ("dead", one.messages_dead),
            ("last sent", one.last_sent_at),
            ("created", one.created_at),
            ("by", one.created_by),
            ("version", one.version),
        ]
    )


def _row(one: Channel) -> tuple[object, ...]:
    return (
        short(one.id),
        one.name,
        one.kind,
        one.state,
        one.events,
        one.messages_waiting,
        one.messages_dead,
        ago(one.last_sent_at) if one.last_sent_at is not None else "never",
    )
