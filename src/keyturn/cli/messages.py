"""`keyturn messages`: what was told by channels, what waits, and what nobody took."""

import json
from typing import TYPE_CHECKING, cast

import click

from keyturn.cli.connection import calling
from keyturn.cli.naming import named_channel, named_message, short
from keyturn.cli.output import Column, Output, ago
from keyturn.cli.paged import Portion, paged
from keyturn.cli.repeating import once_option
from keyturn.cli.when import BACK
from keyturn.client.channel_records import Message

if TYPE_CHECKING:
    from datetime import datetime

    from keyturn.client import Keyturn
    from keyturn.client.messages import MessageState

_COLUMNS = (
    Column("id"),
    Column("event", wide=True),
    Column("state"),
    Column("channel"),
    Column("tries", right=True),
    Column("made"),
    Column("last attempt", wide=True, optional=True),
)
_HELP = "MESSAGE is an id, or the beginning of one."


@click.group()
def messages() -> None:
    """Messages: one for each event and channel that wants it. The id is the webhook-id."""


@messages.command("list")
@click.option("--channel", metavar="CHANNEL", help="Those to one channel.")
@click.option("--state", type=click.Choice(["waiting", "sent", "dead"]), help="Only those.")
@click.option("--event", metavar="TYPE", help="Like rotation.completed.")
@click.option("--subject", metavar="TEXT", help="Like rotation/ and the rotation's id.")
@click.option("--since", type=BACK, metavar="WHEN", help="1h, 30d, or a time.")
@click.option("--until", type=BACK, metavar="WHEN", help="Not those from then on.")
@paged
@calling
def list_(
    client: "Keyturn",
    output: Output,
    channel: str | None,
    state: str | None,
    event: str | None,
    subject: str | None,
    since: "datetime | None",
    until: "datetime | None",
    portion: Portion,
) -> None:
    """List messages, newest first.

    \b
    Examples:
      keyturn messages list --state dead
      keyturn messages list --channel hooks --since 1h --json
    """
    found = client.messages.list(
        channel_id=None if channel is None else named_channel(client, channel).id,
        state=cast("MessageState | None", state),
        event=event,
        subject=subject,
        since=since,
        until=until,
        limit=portion.page_size,
    )
    portion.show(output, found, _COLUMNS, _row, lambda one: one.id)


@messages.command(epilog=_HELP)
@click.argument("message")
@calling
def show(client: "Keyturn", output: Output, message: str) -> None:
    """Show a message, with its attempts and what it says.

    \b
    Examples:
      keyturn messages show 06aSDUtCJxNn2WzPHQ7kVt
    """
    show_message(output, named_message(client, message))


@messages.command(epilog=_HELP)
@click.argument("message")
@once_option
@calling
def replay(client: "Keyturn", output: Output, message: str, idempotency_key: str | None) -> None:
    """Send a message anew, whatever became of it; its id stays.

    \b
    Examples:
      keyturn messages replay 06aSDUtCJxNn2WzPHQ7kVt
    """
    id_ = named_message(client, message).id
    show_message(output, client.messages.replay(id_, idempotency_key=idempotency_key))


def show_message(output: Output, one: Message) -> None:
    if output.as_json:
        output.json(one)
        return
    if output.is_quiet:
        output.say(one.id)
        return
    output.record(
        [
            ("id", one.id),
            ("event", one.event),
            ("subject", one.subject),
            ("channel", one.channel_id),
            ("state", one.state),
            ("reason", one.reason),
            ("made", one.created_at),
            ("ended", one.ended_at),
            ("next try", one.next_try_at),
            ("recipients", one.recipients),
            *(
                (f"attempt {number}", f"{attempt.at.isoformat()} {attempt.outcome}")
                for number, attempt in enumerate(one.attempts, 1)
            ),
            ("payload", json.dumps(one.payload, ensure_ascii=False)),
        ]
    )


def _row(one: Message) -> tuple[object, ...]:
    return (
        short(one.id),
        one.event,
        one.state,
        short(one.channel_id),
        one.tries,
        ago(one.created_at),
        one.attempts[-1].outcome if one.attempts else None,
    )
