"""Who calls: from a presented token to a caller with rights, or to the code that denies it."""

from dataclasses import dataclass, replace
from uuid import UUID

from keyturn.domain.activity import Actor, ActorType
from keyturn.domain.authority import UNBOUNDED, VERIFY_ONLY, Rights
from keyturn.domain.digest import PepperRing
from keyturn.domain.error import CredentialInvalid, NetworkDenied
from keyturn.domain.identity import NIL
from keyturn.domain.network import Address
from keyturn.domain.operator import OperatorKind
from keyturn.domain.runtime import NamedNetwork
from keyturn.domain.token import Token
from keyturn.domain.verdict import VerdictCode, judge
from keyturn.storage.contract import (
    Credential,
    KeyCredential,
    OperatorCredential,
    Reference,
)
from keyturn.storage.transaction import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody whose secret was right. `workspace_id` is None for operators and gateways."""

    actor: Actor
    rights: Rights
    workspace_id: UUID | None
    networks: tuple[NamedNetwork, ...] = ()

    @property
    def id(self) -> UUID:
        return NIL if self.actor.id is None else self.actor.id

    @property
    def is_operator(self) -> bool:
        return self.workspace_id is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    """What a token turned out to be. `key_id` is None unless the secret was right."""

    code: VerdictCode
    caller: Caller | None
    key_id: UUID | None
    workspace_id: UUID | None

    def require(self) -> Caller:
        """The caller. Raises `NetworkDenied`, or `CredentialInvalid` for every other denial."""
        if self.code is VerdictCode.VALID and self.caller is not None:
            return self.caller
        if self.code is VerdictCode.NETWORK_DENIED:
            raise NetworkDenied("This token may not be used from the network of this call.")
        raise CredentialInvalid("The token is not valid; check that it is whole and still in use.")


MALFORMED = Identification(code=VerdictCode.MALFORMED, caller=None, key_id=None, workspace_id=None)


def reference(token: Token) -> Reference:
    """What to look up for a token."""
    return Reference(id=token.id, is_operators=token.is_operators)


def proves(ring: PepperRing, token: Token, credential: Credential | None) -> bool:
    """Whether the token's secret is the credential's own. Costs the same when there is none."""
    match credential:
        case KeyCredential(key=key):
            right = ring.matches(
                key.digest,
                key.peppers,
                workspace_id=key.workspace_id,
                id=key.id,
                secret=token.secret(),
            )
            return right and key.slot.environment == token.environment
        case OperatorCredential(operator=operator):
            right = ring.matches(
                operator.digest,
                operator.peppers,
                workspace_id=NIL,
                id=operator.id,
                secret=token.secret(),
            )
            return right and token.is_operators
        case None:
            ring.spend(token.secret())
            return False


def identify(
    ring: PepperRing,
    token: Token | None,
    credential: Credential | None,
    *,
    now: int,
    address: Address | None,
) -> Identification:
    """Who presents `token`, given what was found for it; from `address`, None if not known."""
    if token is None:
        return MALFORMED
    right = proves(ring, token, credential)
    if isinstance(credential, KeyCredential):
        return _identify_key(credential, right=right, now=now, address=address)
    if isinstance(credential, OperatorCredential) and right:
        return _identify_operator(credential, now=now)
    return replace(MALFORMED, code=VerdictCode.UNKNOWN)


def _identify_key(
    credential: KeyCredential, *, right: bool, now: int, address: Address | None
) -> Identification:
    key, workspace = credential.key, credential.workspace
    if not right:
        return Identification(
            code=VerdictCode.UNKNOWN, caller=None, key_id=None, workspace_id=workspace.id
        )
    caller = Caller(
        actor=Actor(type=ActorType.API_KEY, id=key.id, label=key.name),
        rights=Rights.of(key),
        workspace_id=workspace.id,
        networks=workspace.networks,
    )
    return Identification(
        code=judge(key, workspace, now=now, address=address),
        caller=caller,
        key_id=key.id,
        workspace_id=workspace.id,
    )


def _identify_operator(credential: OperatorCredential, *, now: int) -> Identification:
    operator = credential.operator
    code = VerdictCode.VALID
    if not operator.is_live(now):
        code = VerdictCode.REVOKED if operator.revoked_at is not None else VerdictCode.EXPIRED
    is_gateway = operator.kind is OperatorKind.GATEWAY
    return Identification(
        code=code,
        caller=Caller(
            actor=Actor(type=ActorType.USER, id=operator.id, label=operator.name),
            rights=replace(
                VERIFY_ONLY if is_gateway else UNBOUNDED, expires_at=operator.expires_at
            ),
            workspace_id=None,
        ),
        key_id=None,
        workspace_id=None,
    )


def reaffirm(transaction: Reading, caller: Caller, now: int) -> Rights:
    """The caller's rights as they stand inside this transaction.

    Between the check at the door and the change a caller may itself have been revoked; a change
    must not commit after the revocation of the one who asked for it. Raises `CredentialInvalid`.
    """
    if caller.is_operator:
        operator = transaction.operators.find(caller.id)
        if operator is None or not operator.is_live(now):
            raise CredentialInvalid("The token is not valid any more.")
        return caller.rights
    workspace = transaction.workspaces.find(caller.workspace_id or NIL)
    key = transaction.keys.find(caller.workspace_id or NIL, caller.id)
    if key is None or workspace is None:
        raise CredentialInvalid("The token is not valid any more.")
    # The network was judged at the door; it does not change while a call runs.
    code = judge(replace(key, allowed_cidrs=()), workspace, now=now, address=None)
    if code is not VerdictCode.VALID:
        raise CredentialInvalid("The token is not valid any more.")
    return Rights.of(key)
