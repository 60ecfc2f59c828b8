"""`keyturn demo`: a key is rotated by its schedule and the leak of another contained, on live
traffic."""

import click
import msgspec

from keyturn.client.errors import KeyturnClientError
from keyturn.demo.figures import Figures
from keyturn.demo.openbao import find_openbao
from keyturn.demo.pace import LEAST_SECONDS, MOST_SECONDS, USUAL_SECONDS, Pace
from keyturn.demo.place import Choice, chosen_openbao
from keyturn.demo.stage import Stage, open_stage
from keyturn.demo.story import Story
from keyturn.demo.table import faults
from keyturn.demo.telling import Silence, Told, console, tell_end
from keyturn.domain.error import InstallationFault


@click.command()
@click.option(
    "--seconds",
    type=click.IntRange(LEAST_SECONDS, MOST_SECONDS),
    default=USUAL_SECONDS,
    show_default=True,
    help="How long there is traffic, about.",
)
@click.option(
    "--destination",
    type=click.Choice([one.value for one in Choice]),
    default=Choice.AUTO.value,
    show_default=True,
    help="Where new tokens are delivered: OpenBao, a file, or OpenBao where it is installed.",
)
@click.option(
    "--keep", is_flag=True, help="Keep the temporary folder, with the tokens and the report in it."
)
@click.option("--json", "as_json", is_flag=True, help="Only the figures, for programs.")
@click.pass_context
def demo(ctx: click.Context, seconds: int, destination: str, keep: bool, as_json: bool) -> None:
    """See a key rotated without a hand and a leak contained, live.

    Starts Keyturn, an OpenBao where one is installed, a small API that verifies each call, three
    services that call it, and a thief who finds the key of one, as processes in a temporary folder
    and on free ports of this machine. Ends with the figures, and with 1 where one of them is wrong.
    Ctrl-C ends all of it.
    """
    bao = chosen_openbao(Choice(destination), find_openbao())
    try:
        with open_stage(is_kept=keep, bao=bao) as stage:
            figures = _played(stage, Pace(seconds), as_json=as_json)
    except KeyturnClientError as error:
        raise InstallationFault(
            f"The demonstration cannot go on: {error}",
            remedy="Run it again with --keep, and look at keyturn.log in its folder.",
        ) from error
    wrong = faults(figures)
    if as_json:
        told = msgspec.to_builtins(figures) | {"faults": wrong}
        click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())
        for sentence in wrong:
            click.echo(f"keyturn: {sentence}", err=True)
    else:
        tell_end(console(), figures)
    if keep:
        click.echo(f"Kept, with the tokens in it: {stage.folder}", err=True)
    ctx.exit(1 if wrong else 0)


def _played(stage: Stage, pace: Pace, *, as_json: bool) -> Figures:
    if as_json:
        return Story(stage, Silence(), pace).play()
    with Told(console()) as telling:
        return Story(stage, telling, pace).play()
