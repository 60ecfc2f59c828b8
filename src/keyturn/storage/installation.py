"""Keeping the installation's own row: what was fixed when it was made."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import insert, select, update

from keyturn.domain.error import IntegrityFailed
from keyturn.storage.schema import installation
from keyturn.storage.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The brand and the fingerprints of the secrets that this database belongs to."""

    installation_id: UUID
    brand: str
    root_fingerprint: str
    pepper_fingerprints: dict[int, str]
    created_at: int

    @property
    def newest_pepper(self) -> int:
        """The version of the pepper that digests made from now on must stand under."""
        return max(self.pepper_fingerprints)


class InstallationRow:
    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self) -> Installation | None:
        row = self._session.connection.execute(select(installation)).mappings().first()
        if row is None:
            return None
        try:
            fingerprints = json.loads(row["pepper_fingerprints"])
            if not fingerprints:
                raise ValueError("an installation has a pepper")
            return Installation(
                installation_id=UUID(row["installation_id"]),
                brand=row["brand"],
                root_fingerprint=row["root_fingerprint"],
                pepper_fingerprints={
                    int(version): print_ for version, print_ in fingerprints.items()
                },
                created_at=row["created_at"],
            )
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise IntegrityFailed(
                "The installation's own row was changed from outside; restore the database from a "
                "backup."
            ) from None

    def record_peppers(self, fingerprints: Mapping[int, str]) -> None:
        """Says which peppers digests may stand under from now on."""
        self._session.connection.execute(
            update(installation).values(pepper_fingerprints=json.dumps(dict(fingerprints)))
        )

    def create(self, made: Installation) -> None:
        self._session.connection.execute(
            insert(installation).values(
                id=1,
                installation_id=str(made.installation_id),
                brand=made.brand,
                root_fingerprint=made.root_fingerprint,
                pepper_fingerprints=json.dumps(made.pepper_fingerprints),
                created_at=made.created_at,
            )
        )
