"""Groups that import a command when it is called: `--help` stays fast, and works in a light
install."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

import click
from click.shell_completion import CompletionItem

from keyturn.domain.error import InstallationFault


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a command is defined, as `module:attribute`, and its one line of help."""

    place: str
    help: str
    section: str = "Commands"

    def load(self, path: str) -> click.Command:
        """The command. Raises `InstallationFault` where it needs more than is installed."""
        module, _, attribute = self.place.partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == "keyturn":
                raise
            raise InstallationFault(
                f"`{path}` needs parts that are not installed ({error.name}).",
                remedy="Install `keyturn[server]`.",
            ) from error
        return command


class LazyGroup(click.Group):
    """A group that has the commands of `lazies`, in their order."""

    lazies: Mapping[str, Lazy] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazies)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        lazy = self.lazies.get(cmd_name)
        return None if lazy is None else lazy.load(f"{ctx.command_path} {cmd_name}")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The names that begin so, with their help, without loading any of them."""
        options = click.Command.shell_complete(self, ctx, incomplete)
        found = ((name, one.help) for name, one in self.lazies.items())
        return [
            *(
                CompletionItem(name, help=text)
                for name, text in found
                if name.startswith(incomplete)
            ),
            *options,
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in dict.fromkeys(lazy.section for lazy in self.lazies.values()):
            with formatter.section(section):
                formatter.write_dl(
                    [
                        (name, lazy.help)
                        for name, lazy in self.lazies.items()
                        if lazy.section == section
                    ]
                )


def lazy_group(**lazies: Lazy) -> type[LazyGroup]:
    """A kind of group that has these commands, for `click.group(cls=…)`."""
    return type("LazyGroupOf", (LazyGroup,), {"lazies": lazies})
