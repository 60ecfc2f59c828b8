"""How far a change is effective, as commands say it; and the option not to wait for that."""

from typing import TYPE_CHECKING

import click

from keyturn.cli.output import Output, counted, spelled

if TYPE_CHECKING:
    from keyturn.client.resources import Effect

no_wait_option = click.option(
    "--no-wait",
    "respond_async",
    is_flag=True,
    help="Do not wait until it is effective on every verifier; say when it will be.",
)


def effect_told(effect: "Effect") -> str:
    """`effective everywhere in 12 ms on 3 nodes`, or until when it may not be."""
    if not effect.is_complete:
        if effect.effective_by is None:
            return "not known to be effective everywhere"
        return f"effective by {spelled(effect.effective_by)} (UTC)"
    if effect.nodes is None or effect.took_ms is None:
        return "effective everywhere"
    told = f"effective everywhere in {effect.took_ms:,} ms on {counted(effect.nodes, 'node')}"
    if effect.expired:
        told += f", {effect.expired:,} of them cut off"
    return told


def note_effect(output: Output, effect: "Effect | None") -> None:
    """A word on a change that is not effective everywhere yet."""
    if effect is not None and not effect.is_complete:
        output.note(
            f"It is {effect_told(effect)}; until then a verifier may go by what was before. "
            "`keyturn keys trace KEY` shows which."
        )
