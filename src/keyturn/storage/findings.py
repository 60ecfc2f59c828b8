"""Keeping findings. Of those that are the same at most one is not resolved, which the database
holds as well. A damaged finding is left out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, delete, false, func, or_, select, text, true

from keyturn.domain.finding import Finding, FindingKind, FindingState, Severity
from keyturn.domain.slot import SlotName
from keyturn.storage.activity import Activity
from keyturn.storage.records import FINDINGS, finding_of, finding_row, id_of
from keyturn.storage.schema import IS_UNRESOLVED, findings
from keyturn.storage.session import Session
from keyturn.storage.slots import name_matches

_is_unresolved = text(IS_UNRESOLVED)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingFilter:
    """Which findings to list; None asks for any. `slots` are patterns, `("*",)` for all."""

    states: tuple[FindingState, ...] | None = None
    kinds: tuple[FindingKind, ...] | None = None
    severity: Severity | None = None
    slots: tuple[str, ...] = ("*",)
    slot: SlotName | None = None
    subject_id: str | None = None


class Findings:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, finding: Finding) -> None:
        """Raises `StorageUnavailable` where the same is there and not resolved."""
        FINDINGS.insert(self._session.connection, self._session.sealer, finding_row(finding))

    def replace(self, finding: Finding, expected: int) -> None:
        """Writes over version `expected`. Raises `VersionMoved` where another stands."""
        FINDINGS.replace(
            self._session.connection, self._session.sealer, finding_row(finding), expected
        )

    def find(self, workspace_id: UUID, id: UUID) -> Finding | None:  # noqa: A002
        """The finding, or None. Raises `IntegrityFailed` where its row is damaged."""
        row = self._session.connection.execute(
            _selected(workspace_id).where(findings.c.id == str(id))
        ).first()
        if row is None:
            return None
        return self._session.require(FINDINGS, tuple(row), finding_of, str(id))

    def workspace_of(self, id: UUID) -> UUID | None:  # noqa: A002
        """The workspace that a finding says it is in, for an operator who names it alone."""
        found = self._session.connection.execute(
            select(findings.c.workspace_id).where(findings.c.id == str(id))
        ).scalar()
        return id_of(found)

    def unresolved(self, workspace_id: UUID) -> Sequence[Finding]:
        """All that are not resolved. Damaged rows are left out."""
        return self._all(_selected(workspace_id).where(_is_unresolved))

    def unresolved_of(
        self,
        workspace_id: UUID,
        kinds: Collection[FindingKind] | None = None,
        subject_ids: Collection[str] | None = None,
    ) -> Sequence[Finding]:
        """Those that are not resolved, of these kinds and these subjects where any are named."""
        query = _selected(workspace_id).where(_is_unresolved)
        if kinds is not None:
            query = query.where(findings.c.kind.in_(sorted(one.value for one in kinds)))
        if subject_ids is not None:
            query = query.where(findings.c.subject_id.in_(sorted(subject_ids)))
        return self._all(query)

    def has_ever(self, workspace_id: UUID, kind: FindingKind, subject_id: str, mark: str) -> bool:
        """Whether there was such a finding, resolved or not."""
        query = (
            select(findings.c.id)
            .where(
                findings.c.workspace_id == str(workspace_id),
                findings.c.kind == kind.value,
                findings.c.subject_id == subject_id,
                findings.c.mark == mark,
            )
            .limit(1)
        )
        return self._session.connection.execute(query).first() is not None

    def bury(self, finding: Finding) -> Sequence[tuple[UUID, int]]:
        """Puts a resolved record in the place of each damaged row that keeps `finding` from being
        added, and gives the id and the version of each, which the log is to tell of.

        A row whose id is none cannot have been one of ours, and is taken away.
        """
        buried = []
        query = _selected(finding.workspace_id).where(
            findings.c.kind == finding.kind.value,
            findings.c.subject_id == finding.subject_id,
            findings.c.mark == finding.mark,
            _is_unresolved,
        )
        for row in self._session.connection.execute(query).all():
            if self._opened(row) is not None:
                continue
            id_ = id_of(row[0])
            if id_ is None or str(id_) != row[0]:
                self._session.connection.execute(delete(findings).where(findings.c.id == row[0]))
                continue
            version = Activity(self._session).next_version(FINDINGS.kind, str(id_))
            tombstone = replace(finding.resolved(finding.since), id=id_, version=version)
            FINDINGS.overwrite(
                self._session.connection, self._session.sealer, finding_row(tombstone)
            )
            buried.append((id_, version))
        return buried

    def list(
        self, workspace_id: UUID, wanted: FindingFilter, *, limit: int, before: UUID | None
    ) -> Sequence[Finding]:
        """At most `limit` findings, newest first, from `before` on. Damaged rows are left out."""
        query = _selected(workspace_id).where(_wanted(wanted)).order_by(findings.c.id.desc())
        if before is not None:
            query = query.where(findings.c.id < str(before))
        return self._session.gather(query, limit, self._opened)

    def count(self, workspace_id: UUID, wanted: FindingFilter) -> int:
        query = (
            select(func.count())
            .select_from(findings)
            .where(findings.c.workspace_id == str(workspace_id), _wanted(wanted))
        )
        return int(self._session.connection.execute(query).scalar_one())

    def _all(self, query: Select[*tuple[Any, ...]]) -> Sequence[Finding]:
        rows = self._session.connection.execute(query).all()
        found = [one for row in rows if (one := self._opened(row)) is not None]
        return sorted(found, key=lambda one: one.id)

    def _opened(self, row: Sequence[Any]) -> Finding | None:
        return self._session.open(FINDINGS, tuple(row), finding_of, str(row[0]))


def _selected(workspace_id: UUID) -> Select[*tuple[Any, ...]]:
    return select(*FINDINGS.selection()).where(findings.c.workspace_id == str(workspace_id))


def _wanted(wanted: FindingFilter) -> ColumnElement[bool]:
    terms: list[ColumnElement[bool]] = [_in_slots(wanted.slots)]
    if wanted.states is not None:
        terms.append(findings.c.state.in_([one.value for one in wanted.states]))
    if wanted.kinds is not None:
        terms.append(findings.c.kind.in_([one.value for one in wanted.kinds]))
    if wanted.severity is not None:
        terms.append(findings.c.severity == wanted.severity.value)
    if wanted.slot is not None:
        terms.append(findings.c.service == wanted.slot.service)
        terms.append(findings.c.environment == wanted.slot.environment)
    if wanted.subject_id is not None:
        terms.append(findings.c.subject_id == wanted.subject_id)
    return and_(*terms)


def _in_slots(patterns: tuple[str, ...]) -> ColumnElement[bool]:
    if "*" in patterns:
        return true()
    names = (findings.c.service, findings.c.environment)
    return or_(false(), *(name_matches(*names, one) for one in patterns))
