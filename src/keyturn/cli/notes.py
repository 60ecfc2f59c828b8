"""The options that describe a slot: owner, purpose, runbook, rotation period, expected runtimes,
destinations."""

import functools
from collections.abc import Callable
from typing import TypedDict

import click

from keyturn.cli.when import seconds_of
from keyturn.client import ExpectedRuntime


class Notes(TypedDict):
    """What was said of a slot; None is not said."""

    owner: str | None
    purpose: str | None
    runbook_url: str | None
    rotation_period_days: int | None
    runtimes: list[ExpectedRuntime] | None
    destinations: list[str] | None


def notes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options that describe a slot, as one `Notes`."""

    @click.option("--owner", metavar="WHO", help="Who answers for it: an e-mail or a team.")
    @click.option("--purpose", metavar="TEXT", help="What it is for.")
    @click.option("--runbook", "runbook_url", metavar="URL", help="Where its runbook is.")
    @click.option(
        "--rotation-days",
        "rotation_period_days",
        type=int,
        metavar="N",
        help="Rotate every N days.",
    )
    @click.option(
        "--runtime",
        "runtimes",
        multiple=True,
        metavar="NAME[=SPAN]",
        help="A workload that is expected to use it, and how rarely it may call: nightly=26h. May "
        "be repeated.",
    )
    @click.option(
        "--destination",
        "destinations",
        multiple=True,
        metavar="NAME",
        help="A destination that its new tokens are delivered to; nobody is shown them then. May "
        "be repeated.",
    )
    @functools.wraps(command)
    def call(
        *args: object,
        owner: str | None,
        purpose: str | None,
        runbook_url: str | None,
        rotation_period_days: int | None,
        runtimes: tuple[str, ...],
        destinations: tuple[str, ...],
        **kwargs: object,
    ) -> None:
        kwargs["notes"] = Notes(
            owner=owner,
            purpose=purpose,
            runbook_url=runbook_url,
            rotation_period_days=rotation_period_days,
            runtimes=[_expected(one) for one in runtimes] or None,
            destinations=list(destinations) or None,
        )
        command(*args, **kwargs)

    return call


def _expected(text: str) -> ExpectedRuntime:
    name, has_span, span = text.partition("=")
    seconds = seconds_of(span) if has_span else None
    if not name or (has_span and seconds is None):
        raise click.UsageError("--runtime takes a name, or a name with a span: nightly=26h.")
    return ExpectedRuntime(name=name, max_call_interval_seconds=seconds)
