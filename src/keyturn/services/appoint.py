"""Appointing operators and gateways, from the command line only."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from keyturn.domain.activity import SYSTEM, Category
from keyturn.domain.error import OperatorUnknown, RequestInvalid
from keyturn.domain.identity import NIL
from keyturn.domain.operator import Operator, OperatorKind
from keyturn.domain.text import check_text
from keyturn.domain.token import OPERATOR_ENVIRONMENT, SECRET_BYTES, Token, make_token
from keyturn.services.context import Context
from keyturn.services.follow import operator_under_newest
from keyturn.services.journal import Subject, note
from keyturn.storage.log import Change
from keyturn.storage.transaction import Writing


@dataclass(frozen=True, slots=True, kw_only=True)
class AppointedOperator:
    """A new operator and its token, which exists nowhere else."""

    operator: Operator
    token: Token


def make_operator(
    context: Context, name: str, kind: OperatorKind, expires_at: int | None, now: int
) -> AppointedOperator:
    """A new operator, kept nowhere yet. Raises `RequestInvalid`."""
    if expires_at is not None and expires_at <= now:
        raise RequestInvalid.at("/expires_at", "This lies in the past.")
    id_ = context.new_id(now)
    token = make_token(
        brand=context.brand,
        environment=OPERATOR_ENVIRONMENT,
        id=id_,
        secret=context.entropy.take(SECRET_BYTES),
    )
    digest, peppers = context.ring.make(workspace_id=NIL, id=id_, secret=token.secret())
    operator = Operator(
        id=id_,
        name=check_text(name, "/name"),
        kind=kind,
        digest=digest,
        peppers=peppers,
        created_at=now,
        expires_at=expires_at,
        revoked_at=None,
        updated_at=now,
        version=1,
    )
    return AppointedOperator(operator=operator, token=token)


def add_operator(context: Context, transaction: Writing, operator: Operator, now: int) -> None:
    """Keeps a new operator, under the newest pepper, and logs it."""
    operator = operator_under_newest(context, transaction, operator)
    transaction.operators.add(operator)
    _note(context, transaction, operator, "operator.created", "was made", now)


def appoint_operator(
    context: Context, name: str, kind: OperatorKind, expires_at: int | None
) -> AppointedOperator:
    """Makes an operator or a gateway credential. Raises `RequestInvalid`."""
    name = check_text(name, "/name")
    with context.store.change() as transaction:
        now = context.clock.now()
        appointed = make_operator(context, name, kind, expires_at, now)
        add_operator(context, transaction, appointed.operator, now)
    return appointed


def dismiss_operator(context: Context, id: UUID) -> Operator:  # noqa: A002
    """Revokes an operator's token; once more, it stays as it is. Raises `OperatorUnknown`."""
    with context.store.change() as transaction:
        now = context.clock.now()
        operator = transaction.operators.find(id)
        if operator is None:
            raise OperatorUnknown("There is no operator with this id.")
        if operator.revoked_at is not None:
            return operator
        following = replace(operator, revoked_at=now, updated_at=now, version=operator.version + 1)
        transaction.operators.replace(following, operator.version)
        _note(context, transaction, following, "operator.revoked", "was revoked", now)
    return following


def list_operators(context: Context) -> Sequence[Operator]:
    """All operators, newest first."""
    with context.store.read() as transaction:
        return transaction.operators.list()


def operator_subject(operator: Operator) -> Subject:
    """How the log names an operator and the change that it has just gone through."""
    return Subject(
        workspace_id=None,
        type="operator",
        id=str(operator.id),
        change=Change(kind="operator", ref=str(operator.id), version=operator.version),
    )


def _note(
    context: Context, transaction: Writing, operator: Operator, action: str, verb: str, now: int
) -> None:
    note(
        context,
        transaction,
        actor=SYSTEM,
        request_id=None,
        action=action,
        category=Category.SECURITY,
        subject=operator_subject(operator),
        message=f"Operator {operator.name} {verb}.",
        metadata={"kind": operator.kind.value},
        now=now,
    )
