"""The command line: one module a noun group, each loaded only when it is asked for."""

from keyturn.cli.main import main

__all__ = ["main"]
