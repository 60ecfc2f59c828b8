"""The leash of a child process: its standard input. Nothing is ever written to it.

When it closes, the story is over, or whoever told it has died, even by SIGKILL: the system closes
what a dead process held. The child then ends by itself, so that none is left behind.
"""

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

GRACE_SECONDS = 8.0


def when_released(act: Callable[[], None]) -> None:
    """Calls `act` from a thread of its own once the leash is let go. A process that has not ended
    some seconds later is ended."""

    def watch() -> None:
        while os.read(0, 1_024):
            pass
        act()
        threading.Event().wait(GRACE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="leash", daemon=True).start()


@contextmanager
def leashed(parent_id: int, folder: str) -> Iterator[None]:
    """Ends this process by SIGTERM once it is let go, as an operator would end it.

    If its parent has died meanwhile, nobody else is there to remove the story's `folder` with the
    tokens in it; empty, it names none.
    """
    when_released(lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        yield
    finally:
        if folder and os.getppid() != parent_id:
            shutil.rmtree(Path(folder), ignore_errors=True)
