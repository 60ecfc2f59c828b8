"""Asking before what cannot be undone, or changes much."""

import sys

import click

from keyturn.cli.ending import CommandFailed
from keyturn.cli.output import harmless


def require_consent(question: str) -> None:
    """Asks at a terminal. Raises `CommandFailed` for no, and a usage error where nobody can be
    asked: a loop that reads its keys from a pipe must say that it means it."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"{harmless(question)} Say --yes; here nobody can be asked.")
    if not click.confirm(harmless(question), err=True):
        raise CommandFailed("Nothing was changed.")
