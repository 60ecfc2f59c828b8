"""The ground of a drill: a slot of its own in a live installation, and the runtimes played there.

1. Every call of a drill has a request id that begins with the drill's name, so the log of requests
   and that of activity tell which they were.
2. Nothing live is left: `clear` revokes whatever key there is in the slot. Where even that cannot
   be done, the keys expire by themselves.
3. A runtime is a caller that asks `/v1/verify` as a service does that is called by it.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import TypeVar

from keyturn.cli.ending import REFUSED, CommandFailed
from keyturn.cli.living import living
from keyturn.cli.when import now
from keyturn.client.binding import Pages, Sends
from keyturn.client.call import Call
from keyturn.client.errors import Conflict
from keyturn.client.keys import create_key, list_keys, revoke_key
from keyturn.client.resources import ExpectedRuntime, IssuedKey, Key, Self, Verdict
from keyturn.client.slots import define_slot
from keyturn.client.verify import look_at_self, verify
from keyturn.domain.error import RevealRefused
from keyturn.domain.permission import Permission, holds_permission
from keyturn.domain.token import Token

T = TypeVar("T")

ENVIRONMENT = "drill"
# So long a key of a drill lives at most, should nobody be left to revoke it.
_LONGEST_LIFE = timedelta(hours=1)


class DrillFailed(Exception):
    """A step that did not go as it must; the sentence says how."""


@dataclass(frozen=True, slots=True)
class Act:
    """One step: what is claimed, and what shows it. It raises where the claim does not hold."""

    claim: str
    show: Callable[[], None]


@dataclass(slots=True)
class Runtime:
    """A workload that is played. One that is `steady` calls all the time."""

    name: str
    token: Token
    is_steady: bool


class Ground:
    """One drill's place. Its calls go out under the drill's own request ids."""

    def __init__(self, client: Sends, name: str) -> None:
        self.name = name
        self.calls = 0
        self._counting = threading.Lock()
        self.verified = 0
        self.runtimes: dict[str, Runtime] = {}
        self._client = client
        self._caller = self.send(look_at_self())
        self._owner = _name_of(self._caller)
        self._address = _address_in(self._networks)

    @property
    def slot(self) -> str:
        return f"{self.name}-{ENVIRONMENT}"

    @property
    def last_request_id(self) -> str:
        return f"{self.name}-{self.calls}"

    def send(self, call: Call[T]) -> T:
        """Sends a call under the next request id."""
        headers = {**call.headers, "X-Request-Id": self._next_id()}
        return self._client.send(replace(call, headers=headers))

    def require_permissions(self, needed: Sequence[Permission]) -> None:
        """Raises `CommandFailed` where the caller's token may not do what a drill does."""
        held = self._caller.permissions
        lacking = [one for one in needed if not holds_permission(held, f"{one}@{self.slot}")]
        if lacking:
            raise CommandFailed(
                f"A drill needs permissions that this token lacks: {', '.join(lacking)}.",
                remedy=f"Present one that has {', '.join(needed)}; each may be narrowed to "
                "`drill-*`, as in keys:write@drill-*.",
                code=REFUSED,
            )

    # --- the slot and its keys -------------------------------------------------------------------

    def make_key(self, expected: Iterable[ExpectedRuntime], purpose: str) -> IssuedKey:
        """The slot's first key, which may do nothing, and lives for an hour at most."""
        asked = create_key(
            self.slot,
            service=self.name,
            environment=ENVIRONMENT,
            allowed_cidrs=self._networks or None,
            expires_at=self._expiry(),
            owner=self._owner,
            purpose=purpose,
            runtimes=list(expected),
        )
        try:
            return self.send(asked)
        except Conflict as error:
            if error.code != RevealRefused.code:
                raise
            raise CommandFailed(
                "This workspace shows tokens to nobody (`reveal: never`), and a drill plays "
                "callers that have one; nothing was made.",
                remedy="Rehearse in a workspace that shows tokens.",
                code=REFUSED,
            ) from error

    def living_keys(self) -> list[Key]:
        """The keys of the slot that are not dead yet, newest first."""
        return living(
            lambda status: Pages(
                self, list_keys(status=status, service=self.name, environment=ENVIRONMENT)
            )
        )

    def clear(self) -> None:
        """Revokes whatever lives, the newest first: that is a rollback of what is open."""
        for key in self.living_keys():
            self.send(revoke_key(key.id, reason="unused"))

    def write_down(self, purpose: str) -> None:
        """Writes on the slot what the drill was, and how it ended."""
        self.send(define_slot(self.slot, owner=self._owner, purpose=purpose))

    # --- the runtimes ----------------------------------------------------------------------------

    def call(self, name: str, token: Token | None = None) -> Verdict:
        """One call by a runtime, with its own token unless another is given."""
        return self.ask(self._client, name, token or self.runtimes[name].token)

    def ask(self, client: Sends, name: str, token: Token) -> Verdict:
        """Asks one node whether a runtime may be let in. May be called from any thread."""
        request_id = self._next_id()
        asked = verify(
            token,
            request_id=request_id,
            runtime=f"{self.name}/{name}",
            ip=self._address,
            user_agent=f"keyturn-drill ({name})",
        )
        headers = {**asked.headers, "X-Request-Id": request_id}
        return client.send(replace(asked, headers=headers))

    def call_well(self, name: str) -> None:
        """One call by a runtime that must be allowed. Raises `DrillFailed`."""
        verdict = self.call(name)
        self.verified += 1
        if not verdict.valid:
            raise DrillFailed(
                f"{name} was denied ({verdict.code}), with a key that must work "
                f"(request {verdict.request_id})."
            )

    def work(self) -> None:
        """One call by each runtime that calls all the time. Raises `DrillFailed`."""
        for runtime in self.runtimes.values():
            if runtime.is_steady:
                self.call_well(runtime.name)

    def told(self, name: str) -> str:
        """How Keyturn knows a runtime."""
        return f"{self.name}/{name}"

    def _next_id(self) -> str:
        with self._counting:
            self.calls += 1
            return self.last_request_id

    @property
    def _networks(self) -> list[str]:
        """A key is granted no more than its maker has."""
        return [] if self._caller.key is None else self._caller.key.allowed_cidrs

    def _expiry(self) -> datetime:
        """Within the life of the caller's own token, and so is that of the key's successors."""
        moment, ends_at = now(), self._caller.expires_at
        life = _LONGEST_LIFE if ends_at is None else min(_LONGEST_LIFE, (ends_at - moment) / 4)
        return moment + life


def _name_of(caller: Self) -> str | None:
    holder = caller.operator or caller.key
    return None if holder is None else holder.name


def _address_in(networks: list[str]) -> str | None:
    """An address from which a key of these networks may be used."""
    return str(ip_network(networks[0]).network_address) if networks else None
