"""What the API answers, as typed records. Their members are the wire's.

Members that this version does not know are left out, and words (a status, a code) are plain
strings: a newer server may have more of them.
"""

from typing import NoReturn

import msgspec

from keyturn.client.delivery_records import Delivery
from keyturn.client.errors import Denied, TokenLost
from keyturn.client.given_token import given_token
from keyturn.client.record import Instant, Record
from keyturn.domain.token import Token

_LONGEST_NUMBER = 18


class Key(Record, frozen=True, kw_only=True):
    """A key: the record of a credential. `status` is active, suspended, revoked or expired."""

    id: str
    workspace_id: str
    name: str
    service: str
    environment: str
    owner: str | None = None
    purpose: str | None = None
    runbook_url: str | None = None
    rotation_period_days: int | None = None
    scopes: list[str]
    permissions: list[str]
    allowed_cidrs: list[str]
    metadata: dict[str, object]
    status: str
    hint: str
    created_at: Instant
    created_by: str | None = None
    not_before: Instant | None = None
    expires_at: Instant | None = None
    rotate_by: Instant | None = None
    last_rotated_at: Instant | None = None
    last_used_at: Instant | None = None
    updated_at: Instant
    revoked_at: Instant | None = None
    revocation_reason: str | None = None
    version: int

    @property
    def slot(self) -> str:
        return f"{self.service}-{self.environment}"


class IssuedKey(Key, frozen=True, kw_only=True):
    """A new key with its token, which is answered this once. `api_key` is None where it was
    answered before, and where the token is delivered: `deliveries` says to where. Where the key
    replaces another, `rotation_id` names what has begun."""

    api_key: Token | None
    deliveries: list[Delivery] = msgspec.field(default_factory=list)
    rotation_id: str | None = None

    @property
    def token(self) -> Token:
        """The token; `.reveal()` gives the string. Where there is none, raises `TokenDelivered`, or
        else `TokenLost`."""
        return given_token(self.api_key, self.id, self.deliveries)


class ChangedKey(Key, frozen=True, kw_only=True):
    """A key after a change; `effect` says how far what that took away is effective."""

    effect: "Effect | None" = None


class ExpectedRuntime(Record, frozen=True, kw_only=True):
    """A workload that is expected to use a slot's keys."""

    name: str
    max_call_interval_seconds: int | None = None


class Slot(Record, frozen=True, kw_only=True):
    """A service in an environment, and what people say of it."""

    name: str
    workspace_id: str
    service: str
    environment: str
    owner: str | None = None
    purpose: str | None = None
    runbook_url: str | None = None
    rotation_period_days: int | None = None
    runtimes: list[ExpectedRuntime]
    destinations: list[str] = msgspec.field(default_factory=list)
    created_at: Instant
    updated_at: Instant
    version: int


class NamedNetwork(Record, frozen=True, kw_only=True):
    """Blocks of addresses that go by one name."""

    name: str
    cidrs: list[str]


class MaintenanceWindow(Record, frozen=True, kw_only=True):
    """A time of the week in which keys may be rotated by themselves: on these days (`mon`), from
    `starts` (`02:00`, UTC) on, for so many minutes."""

    days: list[str]
    starts: str
    minutes: int


class RotationPolicy(Record, frozen=True, kw_only=True):
    """How a workspace rotates: how often, how many slots at once, and when. Without windows it may
    be at any time. The seconds hold where a rotation says nothing itself; None is for what is
    sensible."""

    rotation_period_days: int | None = None
    most_at_once: int = 1
    maintenance_windows: list[MaintenanceWindow] = msgspec.field(default_factory=list)
    overlap_seconds: int | None = None
    quiet_seconds: int | None = None
    brownout_seconds: int | None = None
    lookback_seconds: int | None = None


class Workspace(Record, frozen=True, kw_only=True):
    """A tenant. `reveal` is always, or never: then new tokens go to destinations alone. For
    `grace_seconds` a node that has lost its sight of the database goes on answering for its
    keys."""

    id: str
    name: str
    status: str
    networks: list[NamedNetwork]
    rotation_policy: RotationPolicy | None = None
    reveal: str = "always"
    grace_seconds: int = 0
    created_at: Instant
    updated_at: Instant
    version: int


class ChangedWorkspace(Workspace, frozen=True, kw_only=True):
    """A workspace after a change; `effect` says how far what that took away is effective."""

    effect: "Effect | None" = None


class IssuedWorkspace(Workspace, frozen=True, kw_only=True):
    """A new workspace with the token of its first administrator key, answered this once."""

    api_key: Token | None

    @property
    def token(self) -> Token:
        """The token. Raises `TokenLost` where it was answered before."""
        if self.api_key is None:
            raise TokenLost(workspace_id=self.id)
        return self.api_key


class VerifiedKey(Record, frozen=True, kw_only=True):
    """What a verdict tells of a key whose secret was right."""

    id: str
    name: str
    service: str
    environment: str
    workspace_id: str
    owner: str | None = None
    scopes: list[str]
    metadata: dict[str, object]


class Deprecation(Record, frozen=True, kw_only=True):
    """The key is being rotated away."""

    since: Instant
    sunset: Instant | None = None
    rotation_id: str | None = None


class Grace(Record, frozen=True, kw_only=True):
    """By how much an answer is older than Keyturn promises."""

    late_seconds: int


class Verdict(Record, frozen=True, kw_only=True):
    """Whether a token may do what was asked; `code` says `valid`, or the first reason why not.
    `as_of` is a position of the log that it is at least as new as. `grace` is told by a node that
    has lost its sight of the database and answers all the same, as the workspace allows."""

    valid: bool
    code: str
    request_id: str
    key: VerifiedKey | None = None
    as_of: int
    deprecation: Deprecation | None = None
    grace: Grace | None = None

    def require(self) -> VerifiedKey:
        """The key. Raises `Denied` where the verdict is not valid."""
        if not self.valid or self.key is None:
            raise Denied(self.code, self.request_id)
        return self.key

    def __bool__(self) -> NoReturn:
        raise TypeError("a verdict is no bool: ask for .valid, or call .require()")


class Operator(Record, frozen=True, kw_only=True):
    """Who acts on the installation."""

    id: str
    name: str


class RotationNotice(Record, frozen=True, kw_only=True):
    """The key of the call is in a rotation: `role` is old or new."""

    rotation_id: str
    role: str
    since: Instant
    sunset: Instant | None = None


class Self(Record, frozen=True, kw_only=True):
    """What the token of the call is: `type` is api_key, operator or gateway."""

    type: str
    workspace_id: str | None = None
    key: Key | None = None
    operator: Operator | None = None
    slot: str | None = None
    scopes: list[str]
    permissions: list[str]
    expires_at: Instant | None = None
    rotation: RotationNotice | None = None


class RecordedRequest(Record, frozen=True, kw_only=True):
    """One use of a key, as Keyturn saw and judged it."""

    id: str
    request_id: str
    at: Instant
    key_id: str | None = None
    valid: bool
    code: str
    runtime: str
    declared: bool
    ip: str | None = None
    user_agent: str | None = None
    method: str | None = None
    path: str | None = None
    scopes: list[str]
    environment: str | None = None
    country: str | None = None
    browser: str | None = None


class UsageTotals(Record, frozen=True, kw_only=True):
    """How many requests were let through, and how many were not."""

    allowed: int
    denied: int


class UsageBucket(UsageTotals, frozen=True, kw_only=True):
    """Those of the time that begins `at`."""

    at: Instant


class UsageRuntime(UsageTotals, frozen=True, kw_only=True):
    """Those of one workload."""

    runtime: str
    declared: bool
    first_seen_at: Instant | None = None
    last_seen_at: Instant | None = None


class Usage(Record, frozen=True, kw_only=True):
    """How a key was used. Buckets without a request are left out of `series`."""

    key_id: str
    since: Instant
    until: Instant
    bucket: str
    last_used_at: Instant | None = None
    totals: UsageTotals
    series: list[UsageBucket]
    runtimes: list[UsageRuntime]


class Activity(Record, frozen=True, kw_only=True):
    """One management action."""

    id: str
    actor_type: str
    actor_user_id: str | None = None
    actor_label: str
    action: str
    category: str
    resource_type: str
    resource_id: str
    status: str
    message: str
    metadata: dict[str, object]
    request_id: str | None = None
    retention_days: int
    expires_at: Instant
    created_at: Instant


class Node(Record, frozen=True, kw_only=True):
    """A verifier, and the position of the log that it has: it has `confirmed` a change, is
    `waiting`, or is `expired`: it was not heard of for so long that it accepts nothing."""

    id: str
    name: str = ""
    state: str
    position: int


class Propagation(Record, frozen=True, kw_only=True):
    """Where a key's last change has arrived: it is `complete` or `pending`."""

    key_id: str
    position: int
    changed_at: Instant
    state: str
    nodes: list[Node]


class Effect(Record, frozen=True, kw_only=True):
    """How far a change is effective when it is answered: `is_complete`, on every verifier; else it
    is so at `effective_by` at the latest. `propagation` is the header's own text: `nodes` and
    `took_ms` are taken from it, and how many of the nodes were counted out, since they accept
    nothing any more (`expired`). `incident_id` is the incident that a compromised key is in."""

    is_complete: bool
    propagation: str | None = None
    effective_by: Instant | None = None
    incident_id: str | None = None

    @property
    def nodes(self) -> int | None:
        return self._told("nodes")

    @property
    def expired(self) -> int | None:
        return self._told("expired")

    @property
    def took_ms(self) -> int | None:
        return self._told("ms")

    def _told(self, name: str) -> int | None:
        for part in (self.propagation or "").split(";"):
            key, _, value = part.strip().partition("=")
            if key == name and value.isascii() and value.isdecimal():
                return int(value[:_LONGEST_NUMBER])
        return None


class About(Record, frozen=True, kw_only=True):
    """What answers at the address."""

    service: str
    version: str
    docs: str | None = None


class Health(Record, frozen=True, kw_only=True):
    """Whether the process lives: `status` is ok then."""

    status: str
    version: str
    environment: str
    checks: dict[str, str]


class Readiness(Health, frozen=True, kw_only=True):
    """Whether the node can serve: `status` is ok, or unavailable."""

    database: str

    @property
    def is_ready(self) -> bool:
        return self.status == "ok"
