"""What both engines share: transactions over SQLAlchemy, and errors in our own words."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from keyturn.domain.error import StorageUnavailable
from keyturn.domain.seal import Sealer
from keyturn.storage.contract import OnDamage
from keyturn.storage.session import Session
from keyturn.storage.transaction import Reading, Writing


@contextmanager
def translated() -> Iterator[None]:
    """Turns what the engine raises into `StorageUnavailable`, its cause behind it.

    The engine's own text may hold parameters, so it is for the log alone, and redacted there.
    """
    try:
        yield
    except (DBAPIError, SQLAlchemyError) as error:
        raise StorageUnavailable("The database did not carry this out; try again.") from error


class Transactions:
    """Opens transactions on three engines: to read, to change durably, to record."""

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
        # Where the engine lets one writer in at a time, they queue here instead of spinning there.
        self._turn: AbstractContextManager[object] = turn if turn is not None else nullcontext()

    @contextmanager
    def read(self) -> Iterator[Reading]:
        with self._session(self._reader) as session:
            yield Reading(session)

    @contextmanager
    def change(self) -> Iterator[Writing]:
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
        with self._turn, self._session(self._changer) as session:
            yield Reading(session)

    @contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        session: Session | None = None
        try:
            with translated(), engine.begin() as connection:
                session = Session(connection, self._sealer)
                yield session
        finally:
            if session is not None:
                for damage in session.damage:
                    self._on_damage(damage)

    def close(self) -> None:
        for engine in {
            id(one): one for one in (self._reader, self._changer, self._recorder)
        }.values():
            engine.dispose()
