"""Processes of the product that begin with all of it imported.

To start an interpreter and import the product costs one to two seconds of a processor, a fork of a
process that has imported it hundredths. The processes share nothing else: each has its own folder,
environment, standard streams and exit code, and dies by signals as any other.
"""

import multiprocessing
import os
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "tests.cli.programs",
        "keyturn.cli.activity",
        "keyturn.cli.attest",
        "keyturn.cli.keys",
        "keyturn.client.blocking",
        "keyturn.cli.doctor",
        "keyturn.cli.install",
        "keyturn.cli.operators",
        "keyturn.cli.serve",
        "keyturn.storage.postgresql",
        "keyturn.storage.sqlite",
        "sqlalchemy.dialects.sqlite",
        "sqlalchemy.dialects.postgresql",
        # What a server loads only once it serves.
        "anyio._backends._asyncio",
        "uvicorn.lifespan.off",
        "uvicorn.loops.uvloop",
        "uvloop",
    ]
)


def fork(
    program: Callable[..., None],
    arguments: tuple[str, ...],
    *,
    environment: Mapping[str, str],
    folder: Path,
    output: Path | str,
    errors: Path | str,
) -> ForkServerProcess:
    """Starts a process that runs `program`, which is `become` or settles as it does."""
    process = _FORKS.Process(
        target=program,
        args=(arguments, dict(environment), str(folder), str(output), str(errors)),
    )
    process.start()
    return process


def become(
    arguments: tuple[str, ...],
    environment: dict[str, str],
    folder: str,
    output: str,
    errors: str,
) -> None:
    """Makes this process the command, with these arguments and in this place."""
    settle(environment, folder, output, errors)
    from keyturn.cli import main

    main(arguments)


def settle(environment: dict[str, str], folder: str, output: str, errors: str) -> None:
    """Gives this process its environment, its folder and its standard streams."""
    for descriptor, path in ((1, output), (2, errors)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
