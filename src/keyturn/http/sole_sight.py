"""The sight of the only node of a database: what is committed is seen at once, and that is all."""

from collections.abc import Iterable
from uuid import UUID

from keyturn.http.sight import NodeStanding, Propagation
from keyturn.storage.contract import CredentialReader, CredentialReading, Reference


class SoleSight:
    """Asks the database for each verification, and is never late."""

    def __init__(self, credentials: CredentialReader, node_id: UUID, name: str) -> None:
        self._credentials = credentials
        self._node_id = node_id
        self._name = name

    async def look(self, references: Iterable[Reference], at_least: int) -> CredentialReading:
        return self._credentials.read(references)  # an engine with one process is instant

    def require_fresh(self, grace_seconds: int) -> int | None:
        return None

    async def effective(self, grace_seconds: int, within: float) -> Propagation:
        return Propagation(state="complete", nodes=1, confirmed=1, expired=0, took_ms=0)

    async def nodes(self, position: int, grace_seconds: int) -> tuple[NodeStanding, ...]:
        return (
            NodeStanding(
                id=str(self._node_id), name=self._name, state="confirmed", position=position
            ),
        )

    def fault(self) -> str | None:
        return None
