"""Where a new token goes that nobody is shown: to destinations, by the options and by its slot.

1. What is known beforehand to be delivered needs no `--output`, into a pipe neither. Where no
   option says it and there is no other way for the token, the server is asked for the slot first.
2. `--wait` looks until each delivery has arrived, and says what holds up the others. It only looks:
   interrupted, the deliveries go on.
"""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from keyturn.ambient import SystemClock
from keyturn.cli.delivery_text import delivery_line
from keyturn.cli.ending import INTERRUPTED, CommandFailed, may_pass
from keyturn.cli.naming import named_key, short
from keyturn.cli.output import Output, spelled
from keyturn.cli.when import SPAN
from keyturn.client.delivery_records import Delivery
from keyturn.client.errors import Forbidden, KeyturnClientError, NotFound
from keyturn.domain.error import RequestInvalid
from keyturn.domain.slot import KNOWN_ENVIRONMENTS, SlotName, infer_slot_name

if TYPE_CHECKING:
    from keyturn.client import Keyturn

_WAIT_SECONDS = 60
_SECONDS_BETWEEN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What was said of where the token goes; `names` is None where nothing was."""

    names: tuple[str, ...] | None
    wait_seconds: int | None

    def is_delivered(
        self, client: "Keyturn", target: str | None, slot: Callable[[], SlotName | None]
    ) -> bool:
        """Whether the token is known to be delivered, so that no other way is needed for it. The
        server is asked only where that decides whether it can be made at all."""
        if self.names is not None:
            return bool(self.names)
        if target is not None or sys.stdout.isatty():
            return False
        name = slot()
        try:
            return name is not None and bool(client.slots.read(str(name)).destinations)
        except (NotFound, Forbidden):
            return False


def course_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command `--deliver-to`, `--no-delivery` and `--wait`, as one `Course`."""

    @click.option(
        "--deliver-to",
        "deliver_to",
        multiple=True,
        metavar="NAME",
        help="A destination that the token goes to, instead of the slot's own. May be repeated.",
    )
    @click.option("--no-delivery", is_flag=True, help="Deliver it nowhere, whatever the slot says.")
    @click.option(
        "--wait",
        "wait_seconds",
        type=SPAN,
        is_flag=False,
        flag_value=str(_WAIT_SECONDS),
        metavar="[SPAN]",
        help=f"Wait until it is delivered, {_WAIT_SECONDS} s at most, or so long: --wait=2m.",
    )
    @functools.wraps(command)
    def call(
        *args: object,
        deliver_to: tuple[str, ...],
        no_delivery: bool,
        wait_seconds: int | None,
        **kwargs: object,
    ) -> None:
        if deliver_to and no_delivery:
            raise click.UsageError("Give --deliver-to or --no-delivery, but not both.")
        if deliver_to and kwargs.get("target") is not None:
            raise click.UsageError(
                "Give --output or --deliver-to, but not both: what is delivered is shown to nobody."
            )
        kwargs["course"] = Course(
            names=() if no_delivery else deliver_to or None, wait_seconds=wait_seconds
        )
        command(*args, **kwargs)

    return call


def slot_of_new_key(
    client: "Keyturn",
    name: str | None,
    service: str | None,
    environment: str | None,
    replaces: str | None,
) -> SlotName | None:
    """The slot that a key would be made in, as far as it can be told from here."""
    if replaces is not None:
        return SlotName.parse(named_key(client, replaces).slot)
    if service is not None and environment is not None:
        return SlotName.parse(f"{service}-{environment}")
    try:
        return None if name is None else infer_slot_name(name, frozenset(KNOWN_ENVIRONMENTS))
    except RequestInvalid:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What was made, whose token is delivered: a few words for people, members for programs."""

    what: str  # a new key for scheduler-prod
    key_id: str
    members: Mapping[str, object]
    deliveries: Sequence[Delivery]
    quiet_id: str = ""  # told alone by --quiet, where it is not `key_id`
    notes: Sequence[str] = ()  # what else a person should know


def tell_of_delivery(
    client: "Keyturn", output: Output, sent: Sent, course: Course, target: str | None = None
) -> None:
    """Tells where the token goes, and waits for it where that was asked. Raises `CommandFailed`
    where it has not arrived by then."""
    if output.is_quiet and not output.as_json:
        output.say(sent.quiet_id or sent.key_id)
    elif not output.as_json:
        output.say(f"{sent.what}.")
        for one in sent.deliveries:
            output.say(f"Its token is shown to nobody; it goes to {delivery_line(one)}")
    if target is not None:
        output.note(f"Nothing is written to {target}: the token is delivered.")
    if not output.as_json:
        for note in sent.notes:
            output.note(note)
    deliveries, is_interrupted = await_deliveries(
        client, [sent.key_id], sent.deliveries, course.wait_seconds
    )
    if output.as_json:
        output.json({**sent.members, "api_key": None, "deliveries": deliveries})
    look = f"`keyturn deliveries list --key {short(sent.key_id)}`"
    if course.wait_seconds is not None:
        tell_arrivals(output, deliveries, is_interrupted, look)
    elif not output.as_json:
        output.note(f"{look} shows whether it has arrived.")


def await_deliveries(
    client: "Keyturn", key_ids: Sequence[str], begun: Sequence[Delivery], seconds: int | None
) -> tuple[Sequence[Delivery], bool]:
    """The deliveries of these keys once none is on its way any more, or after so long; and whether
    it was interrupted."""
    clock = SystemClock()
    deadline = clock.elapsed() + (seconds or 0)
    deliveries = begun
    try:
        while _on_their_way(deliveries) and clock.elapsed() < deadline:
            clock.sleep(_SECONDS_BETWEEN)
            try:
                deliveries = [
                    one
                    for key_id in key_ids
                    for one in [*client.deliveries.list(key_id=key_id)][::-1]
                ]
            except KeyturnClientError as error:
                if not may_pass(error):
                    raise
    except KeyboardInterrupt:
        return deliveries, True
    return deliveries, False


def tell_arrivals(
    output: Output, deliveries: Sequence[Delivery], is_interrupted: bool, look: str
) -> None:
    """Tells what has arrived after a wait. Raises `CommandFailed` where something has not."""
    if is_interrupted:
        raise CommandFailed(
            "Interrupted: the delivery goes on.", remedy=f"{look} looks again.", code=INTERRUPTED
        )
    missing = [one for one in deliveries if one.state != "delivered"]
    if missing:
        raise CommandFailed(
            f"The token is not delivered to {'; '.join(map(delivery_line, missing))}",
            remedy=_way_out(missing, look),
        )
    if not (output.as_json or output.is_quiet):
        for one in deliveries:
            output.say(f"Delivered to {one.destination}, at {one.location}.")


def _on_their_way(deliveries: Sequence[Delivery]) -> list[Delivery]:
    return [one for one in deliveries if one.is_open]


def _way_out(missing: Sequence[Delivery], look: str) -> str:
    following = [one.next_attempt_at for one in _on_their_way(missing) if one.next_attempt_at]
    if not following:
        return f"{look} shows what has become of it."
    return (
        f"It is tried again by itself, at {spelled(min(following))} (UTC); {look} looks again. "
        f"`keyturn destinations prove {missing[0].destination}` tells whether that place is well."
    )
