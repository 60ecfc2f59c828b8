"""Rotating the pepper of an installation, beside its server if one runs.

The order keeps every token working at every moment, wherever it is broken off:

1. the file of the root secret gets the new pepper: nothing stands under it yet;
2. it is asked for, and a running server says that it has it, or nothing more is done;
3. the installation's row records it: from now on new digests stand under it, and a copy of the file
   from before does not fit any more;
4. what stands under older peppers alone is wrapped.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from keyturn.ambient import SystemEntropy
from keyturn.domain.error import InstallationFault
from keyturn.server.build import House, opened, signed_head
from keyturn.server.engines import is_served
from keyturn.server.lock import FileLock
from keyturn.server.secret import add_pepper, load_root_secret
from keyturn.server.settings import Settings
from keyturn.services.follow import Asking, ask, is_taken_up, lacking
from keyturn.services.wrap import Survey, Wrapped, record_pepper, survey, wrap_records

TAKE_UP_SECONDS = 15.0
_LOOK_SECONDS = 0.2

# Called with what is done and with how many records there are.
Progress = Callable[[Wrapped, int], None]


def rotate_pepper(
    settings: Settings, begin: Callable[[int, bool], None], progress: Progress
) -> Wrapped:
    """Brings a new pepper in and every sound record under it, or finishes what was broken off;
    `begin` is told the version, and whether it was begun before.

    Raises `InstallationFault` where the file cannot be changed, or the server does not see it.
    """
    with _alone(settings), opened(settings) as house:
        version, is_begun = _wanted(settings, house)
        begin(version, is_begun)
        if version > house.context.ring.current:
            _bring_in(house, version)
        total = survey(house.context).waiting
        wrapped = wrap_records(
            house.context,
            _wait,
            lambda wrapped: progress(wrapped, total),
        )
        with signed_head(house):
            return wrapped


def survey_peppers(settings: Settings) -> tuple[Survey, int]:
    """Where the records stand, and the newest pepper of the file."""
    with opened(settings) as house:
        return survey(house.context), max(house.context.ring.versions)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Of two at once the second would write its pepper in the place of the first one's."""
    file = settings.root_secret_file.resolve()
    load_root_secret(file)
    lock = file.with_name(f"{file.name}.lock")
    with FileLock(lock, file, remedy="Wait until it has ended, then repeat."):
        yield


def _wanted(settings: Settings, house: House) -> tuple[int, bool]:
    """The version to bring everything under, in the file from now on, and whether a rotation to it
    was begun before."""
    newest = max(house.context.ring.versions)
    found = survey(house.context)
    if newest > found.newest or found.is_unfinished:
        return newest, True
    return add_pepper(settings.root_secret_file, SystemEntropy()).newest, False


def _bring_in(house: House, version: int) -> None:
    """Records the pepper, once the server that runs, if one does, has it. Asks again where another
    server came in between."""
    end = house.context.clock.elapsed() + TAKE_UP_SECONDS
    while True:
        asking = ask(house.context, version)
        _await_server(house, asking, end)
        if record_pepper(house.context, asking):
            return


def _await_server(house: House, asking: Asking, end: float) -> None:
    while is_served(house.settings) and (waiting := _waiting(house, asking)):
        if house.context.clock.elapsed() > end:
            raise InstallationFault(
                f"{waiting} has not taken up pepper {asking.version}, so no record was "
                "changed; every token works as before.",
                remedy=f"It must read the same file, {house.settings.root_secret_file}: copy it to "
                "where the server reads its own, or restart the server, and repeat.",
            )
        _wait(_LOOK_SECONDS)


def _waiting(house: House, asking: Asking) -> str:
    """Who has not taken up the pepper yet, in words; empty where all have."""
    cluster = house.context.store.cluster
    if cluster is not None:
        seen = cluster.nodes()
        living = {row.id: row.name for row in seen.rows if row.lease_until >= seen.clock}
        names = sorted(living[id_] for id_ in lacking(house.context, asking, living))
        if names:
            return f"The running server ({', '.join(names)})"
    return "" if is_taken_up(house.context, asking) else "The running server"


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)
