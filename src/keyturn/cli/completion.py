"""`keyturn completion`: what a shell needs to complete commands and options."""

import click
from click.shell_completion import get_completion_class

VARIABLE = "_KEYTURN_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Install it:
      bash   keyturn completion bash > ~/.local/share/bash-completion/completions/keyturn
      zsh    keyturn completion zsh > "${fpath[1]}/_keyturn"
      fish   keyturn completion fish > ~/.config/fish/completions/keyturn.fish
    """
    kind = get_completion_class(shell)
    root = ctx.find_root().command
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    click.echo(kind(root, {}, "keyturn", VARIABLE).source())
