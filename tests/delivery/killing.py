"""A process that dies at any step: of the store, before and after a commit; of the place, before
and after what a call does.

    killer = Killer(dock)
    with killer.at(7):            # the seventh step kills
        dock.deliverer.step()     # raises `Killed`
    with killer.never():          # counts the steps alone
        ...
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

from keyturn.services.context import Context
from keyturn.storage.contract import Cluster, CredentialReader, Store
from keyturn.storage.memory import Memory
from keyturn.storage.transaction import Reading, Writing
from tests.delivery.dock import Dock
from tests.delivery.shelf import Moment


class Killed(BaseException):
    """The process is no more: no `except Exception` sees it."""


@dataclass(slots=True)
class Steps:
    """Counts steps, and kills at one of them."""

    left: int | None = None
    taken: int = 0

    def take(self) -> None:
        self.taken += 1
        if self.left is not None and self.taken >= self.left:
            raise Killed


class MortalStore:
    """A store whose process may die before a transaction begins, before it commits and after."""

    def __init__(self, store: Store, steps: Steps) -> None:
        self._store = store
        self._steps = steps

    @property
    def engine(self) -> str:
        return self._store.engine

    @property
    def credentials(self) -> CredentialReader:
        return self._store.credentials

    @property
    def cluster(self) -> Cluster | None:
        return self._store.cluster

    @property
    def memory(self) -> Memory:
        return self._store.memory

    def read(self) -> AbstractContextManager[Reading]:
        return self._store.read()

    @contextmanager
    def change(self) -> Iterator[Writing]:
        self._steps.take()
        with self._store.change() as transaction:
            yield transaction
            self._steps.take()
        self._steps.take()

    def record(self) -> AbstractContextManager[Reading]:
        return self._store.record()

    def create(self) -> AbstractContextManager[Reading]:
        return self._store.create()

    def ping(self) -> int:
        return self._store.ping()

    def hurry(self) -> None:
        self._store.hurry()

    def close(self) -> None:
        self._store.close()


@contextmanager
def dying(dock: Dock, left: int | None) -> Iterator[Steps]:
    """While it lasts, the process of a dock dies at step `left`; another goes on after it."""
    steps = Steps(left)
    immortal: Context = dock.house.context
    dock.house.context = replace(immortal, store=MortalStore(immortal.store, steps))
    dock.begin()

    def watch(_: Moment) -> None:
        steps.take()

    dock.shelf.watch, watched = watch, dock.shelf.watch
    try:
        yield steps
    except Killed:
        pass
    finally:
        dock.shelf.watch = watched
        dock.house.context = immortal
        dock.begin()
