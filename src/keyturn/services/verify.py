"""Verifying: may this token do this now? The hot path, with no I/O of its own.

Who calls has looked up what the tokens name (`CredentialReader`) and hands it in; the answer is a
verdict and the request to record. Nothing about a key is told before its secret was right, and a
key outside the caller's reach is `unknown`, as one that does not exist.
"""

from dataclasses import dataclass
from uuid import UUID

from keyturn.domain.digest import PepperRing
from keyturn.domain.network import Address
from keyturn.domain.permission import Permission, covers_slot
from keyturn.domain.place import name_of, place_of
from keyturn.domain.request import (
    LONGEST_ENVIRONMENT,
    LONGEST_METHOD,
    LONGEST_PATH,
    LONGEST_USER_AGENT,
    Request,
    bounded,
)
from keyturn.domain.runtime import identify_runtime
from keyturn.domain.token import Token
from keyturn.domain.verdict import Verdict, VerdictCode, judge
from keyturn.services.identify import Caller, proves
from keyturn.storage.contract import Credential, Deprecation, KeyCredential


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked about a token. Texts are as they came; None is not known."""

    token: Token | None
    request_id: str
    scopes: tuple[str, ...] = ()
    address: Address | None = None
    user_agent: str | None = None
    runtime: str | None = None
    environment: str | None = None
    method: str | None = None
    path: str | None = None
    country: str | None = None
    browser: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdict, the slot's owner and what is said of a key on its way out, where the key may be
    told, and the request to record."""

    verdict: Verdict
    owner: str | None
    request: Request
    deprecation: Deprecation | None = None


def verify(
    ring: PepperRing,
    caller: Caller,
    question: Question,
    credential: Credential | None,
    *,
    now: int,
    home: UUID | None,
) -> Answer:
    """Judges one token. `home` is the workspace that the question is asked in, None for any."""
    token = question.token
    if token is None:
        return _answer(VerdictCode.MALFORMED, None, question, now, home)
    if not isinstance(credential, KeyCredential):
        proves(ring, token, None)
        return _answer(VerdictCode.UNKNOWN, None, question, now, home)
    key = credential.key
    place = key.workspace_id if home is None else home
    reaches = place == key.workspace_id and covers_slot(
        caller.rights.slots(Permission.VERIFY), str(key.slot)
    )
    # One out of reach costs the same, and what it stands under is nobody's business here.
    if not proves(ring, token, credential if reaches else None):
        return _answer(VerdictCode.UNKNOWN, None, question, now, place)
    code = judge(
        key, credential.workspace, now=now, address=question.address, scopes=question.scopes
    )
    return _answer(code, credential, question, now, key.workspace_id)


def _answer(
    code: VerdictCode,
    credential: KeyCredential | None,
    question: Question,
    now: int,
    workspace_id: UUID | None,
) -> Answer:
    networks = () if credential is None else credential.workspace.networks
    request = Request(
        at=now,
        request_id=question.request_id,
        workspace_id=workspace_id,
        key_id=None if credential is None else credential.key.id,
        code=code.value,
        runtime=identify_runtime(
            question.runtime,
            question.user_agent,
            question.address,
            networks,
        ),
        place=None if credential is None else place_of(question.address, networks),
        address=question.address,
        user_agent=bounded(question.user_agent, LONGEST_USER_AGENT),
        method=bounded(question.method, LONGEST_METHOD),
        path=bounded(question.path, LONGEST_PATH),
        scopes=question.scopes,
        environment=bounded(question.environment, LONGEST_ENVIRONMENT),
        named_network=name_of(question.address, networks),
        country=question.country,
        browser=question.browser,
    )
    if credential is None:
        return Answer(Verdict(code=code, key=None), None, request)
    verdict = Verdict(code=code, key=credential.key)
    return Answer(verdict, credential.owner, request, credential.deprecation)
