"""Loading the settings for a command, with their warnings on standard error."""

import os
from pathlib import Path

import click

from keyturn.domain.error import InstallationFault
from keyturn.server.settings import Settings, load_settings


def settings_for(default_environment: str) -> Settings:
    """The settings of this folder and this environment. Raises `SettingsFault`."""
    settings, warnings = load_settings(
        os.environ, working_folder(), default_environment=default_environment
    )
    for warning in warnings:
        click.echo(f"keyturn: {warning}", err=True)
    return settings


def working_folder() -> Path:
    """Where the command was called. Raises `InstallationFault` where that is gone meanwhile."""
    try:
        return Path.cwd()
    except OSError as error:
        raise InstallationFault(
            "The working folder is not there any more.", remedy="Change to another folder."
        ) from error
