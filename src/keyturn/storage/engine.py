"""What both engines share: transactions over SQLAlchemy, and errors in our own words."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from keyturn.domain.error import StorageUnavailable
from keyturn.domain.seal import Sealer
from keyturn.storage.contract import Cluster, OnDamage
from keyturn.storage.memory import Memory
from keyturn.storage.session import Session
from keyturn.storage.transaction import Reading, Writing

TURN_SECONDS = 8.0
_TURN_TICK_SECONDS = 0.5

_REFUSED = "The database did not carry this out; try again."
_UNCERTAIN = (
    "The database failed at the very end: whether this was carried out is not known. Look before "
    "you repeat it; what was sent with an Idempotency-Key may be sent again with the same one."
)


@contextmanager
def translated(detail: str = _REFUSED) -> Iterator[None]:
    """Turns what the engine raises into `StorageUnavailable`, its cause behind it.

    The engine's own text may hold parameters, so it is for the log alone, and redacted there.
    """
    try:
        yield
    except (DBAPIError, SQLAlchemyError) as error:
        raise StorageUnavailable(detail) from error


class Turn:
    """A queue in front of an engine that lets one writer in at a time, instead of spinning there.

    Nobody stands in it for longer than `TURN_SECONDS`, nor for long once it `is_over`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.is_over = False

    def __enter__(self) -> None:
        for _ in range(round(TURN_SECONDS / _TURN_TICK_SECONDS)):
            if self._lock.acquire(timeout=_TURN_TICK_SECONDS):
                return
            if self.is_over:
                break
        raise StorageUnavailable(_REFUSED)

    def __exit__(self, *failure: object) -> None:
        self._lock.release()


class Transactions:
    """Opens transactions on three engines: to read, to change durably, to record."""

    cluster: Cluster | None = None

    def __init__(
        self,
        *,
        reader: Engine,
        changer: Engine,
        recorder: Engine,
        sealer: Sealer,
        on_damage: OnDamage,
        turn: AbstractContextManager[object] | None = None,
    ) -> None:
        self._reader = reader
        self._changer = changer
        self._recorder = recorder
        self._sealer = sealer
        self._on_damage = on_damage
        self.memory = Memory()
        self._turn: AbstractContextManager[object] = turn if turn is not None else nullcontext()

    @contextmanager
    def read(self) -> Iterator[Reading]:
        with self._session(self._reader) as session:
            yield Reading(session)

    def _require_fitting(self) -> None:
        """Raises `IntegrityFailed` where this version may change nothing here any more."""

    @contextmanager
    def change(self) -> Iterator[Writing]:
        self._require_fitting()
        with self._turn, self._session(self._changer) as session:
            writing = Writing(session)
            yield writing
            writing.log.finish()

    @contextmanager
    def record(self) -> Iterator[Reading]:
        with self._turn, self._session(self._recorder) as session:
            yield Reading(session)

    @contextmanager
    def create(self) -> Iterator[Reading]:
        self._require_fitting()
        with self._turn, self._session(self._changer) as session:
            yield Reading(session)

    @contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        session: Session | None = None
        mark = self.memory.mark()
        try:
            with translated(), engine.connect() as connection, connection.begin() as transaction:
                session = Session(connection, self._sealer, self.memory, mark)
                yield session
                with translated(_REFUSED if engine is self._reader else _UNCERTAIN):
                    transaction.commit()
            session.remember()
        finally:
            if session is not None:
                for damage in session.damage:
                    self._on_damage(damage)

    def close(self) -> None:
        for engine in {
            id(one): one for one in (self._reader, self._changer, self._recorder)
        }.values():
            engine.dispose()
