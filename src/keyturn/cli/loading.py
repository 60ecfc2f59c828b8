"""Loading the settings for a command, with their warnings on standard error."""

import os
from pathlib import Path

import click

from keyturn.server.settings import Settings, load_settings


def settings_for(default_environment: str) -> Settings:
    """The settings of this folder and this environment. Raises `SettingsFault`."""
    settings, warnings = load_settings(
        os.environ, Path.cwd(), default_environment=default_environment
    )
    for warning in warnings:
        click.echo(f"keyturn: {warning}", err=True)
    return settings
