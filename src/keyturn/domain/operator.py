"""The operator: a person, or a gateway, that acts on the whole installation."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class OperatorKind(StrEnum):
    """`operator` may do everything; `gateway` may verify for every workspace, nothing more."""

    OPERATOR = "operator"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """The record of an operator. Its token is made by the command line only."""

    id: UUID
    name: str
    kind: OperatorKind
    digest: bytes
    peppers: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    updated_at: int
    version: int

    def is_live(self, now: int) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)
