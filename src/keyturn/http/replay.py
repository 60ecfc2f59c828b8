"""`Idempotency-Key`: a call sent twice is carried out once, and answered alike, but for its token.

1. A key means one thing per caller, workspace and route, for 24 hours.
2. The answer is kept in the transaction of its change: there is no change without its answer, and
   no answer without its change. Only successes are kept; what was refused may be sent again.
3. The same body gets the first answer with the token replaced by null; another body is 422. Where
   it took something away, that too is answered once it is effective everywhere.
4. While the first call is still running the second is 409. A node knows of its own calls; of two at
   different nodes the one whose change comes second finds the answer of the first under the lock
   that all changes take, and changes nothing: it is 409 too, and repeated it gets that answer.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated
from uuid import UUID

from fastapi import Header, Response
from pydantic import BaseModel

from keyturn.domain.error import IdempotencyMismatch, IdempotencyRunning, RequestInvalid
from keyturn.domain.idempotency import IDEMPOTENCY_KEY
from keyturn.domain.identity import NIL
from keyturn.domain.instant import DAY
from keyturn.domain.text import refuse_token
from keyturn.http.call import Call
from keyturn.http.spelling import OnceKey
from keyturn.storage.idempotency import IdempotencyScope, StoredAnswer
from keyturn.storage.transaction import Reading, Writing

IdempotencyKey = Annotated[
    OnceKey | None,
    Header(
        alias="Idempotency-Key",
        description="Up to 255 printable characters; the same call sent again with the same key "
        "is carried out once.",
    ),
]

REPLAYED = "Idempotency-Replayed"

ROTATION = "Keyturn-Rotation"
INCIDENT = "Keyturn-Incident"

_KEPT = ("ETag", "Location", ROTATION)


class Replay:
    """One call that may have been sent before. `answer` is the first answer, if there is one."""

    def __init__(self, call: Call, scope: IdempotencyScope | None, body_hash: bytes) -> None:
        self._call = call
        self._scope = scope
        self._body_hash = body_hash
        self.answer = None if scope is None else self._find(scope)
        if self.answer is not None and call.takes_away and scope is not None:
            call.takes_effect(scope.workspace_id)

    def _find(self, scope: IdempotencyScope) -> Response | None:
        with self._call.context.store.read() as transaction:
            stored = self._stored(transaction, scope)
            if stored is not None and self._call.takes_away:
                # Another node may have made the change: it is waited for as far as the log is now.
                transaction.head()
        if stored is None:
            return None
        return Response(
            stored.body,
            status_code=stored.status,
            media_type="application/json",
            headers={
                **{name: stored.headers[name] for name in _KEPT if name in stored.headers},
                REPLAYED: "true",
            },
        )

    def _stored(self, transaction: Reading, scope: IdempotencyScope) -> StoredAnswer | None:
        """The first answer. Raises `IdempotencyMismatch`."""
        since = self._call.context.clock.now() - DAY
        stored = transaction.idempotency.find(scope, since=since)
        if stored is not None and stored.body_hash != self._body_hash:
            raise IdempotencyMismatch(
                "This idempotency key was used with another body; use a new one."
            )
        return stored

    def keep(
        self,
        transaction: Writing,
        *,
        status: int,
        headers: Mapping[str, str],
        body: Callable[[], BaseModel],
    ) -> None:
        """Keeps the answer with its change. `body` makes it, without a token in it. Raises
        `IdempotencyRunning`, and the change is undone, where it was carried out meanwhile."""
        if self._scope is None:
            return
        if self._stored(transaction, self._scope) is not None:
            raise IdempotencyRunning(
                "The first call with this idempotency key was answered just now; repeat this one "
                "to get its answer."
            )
        answer = StoredAnswer(
            body_hash=self._body_hash,
            status=status,
            headers={name: headers[name] for name in _KEPT if name in headers},
            body=body().model_dump_json(),
        )
        transaction.idempotency.keep(self._scope, answer, self._call.context.clock.now())


@contextmanager
def replaying(call: Call, key: str | None, route: str, home: UUID | None) -> Iterator[Replay]:
    """Guards one call: `route` is its method and path, `home` its workspace, None for none."""
    scope = _scope(call, key, route, home)
    if scope is None:
        yield Replay(call, None, b"")
        return
    canonical = json.dumps(call.body, sort_keys=True, separators=(",", ":"))
    body_hash = hashlib.sha256(canonical.encode()).digest()
    running = call.desk.running
    if not running.add_if_absent(scope):
        raise IdempotencyRunning("The first call with this idempotency key is still running.")
    try:
        yield Replay(call, scope, body_hash)
    finally:
        running.remove(scope)


def _scope(call: Call, key: str | None, route: str, home: UUID | None) -> IdempotencyScope | None:
    if key is None:
        return None
    if IDEMPOTENCY_KEY.fullmatch(key) is None:
        raise RequestInvalid.at("/Idempotency-Key", "This is 1 to 255 printable characters.")
    refuse_token(key, "/Idempotency-Key")
    return IdempotencyScope(
        caller_id=call.caller.id,
        workspace_id=NIL if home is None else home,
        route=route,
        idempotency_key=key,
    )
