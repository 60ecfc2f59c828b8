"""The tables, one text for both engines.

Columns carry the wire's names. Times are microseconds since the epoch, ids canonical UUID text,
lists and objects canonical JSON text, and texts compare bytewise. Truth values are 0 and 1. The
types convert nothing on the way out: whatever a hostile hand left in a row must reach the seal's
check as it is, and harm nobody else.
"""

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from keyturn.domain.channel import ChannelKind, ChannelState
from keyturn.domain.delivery import ENDED_STATES, DeliveryState
from keyturn.domain.destination import DestinationState
from keyturn.domain.finding import FindingState, Severity, SubjectType
from keyturn.domain.incident import Because, Containment, IncidentReason, IncidentState, Outcome
from keyturn.domain.key import KeyState, RevocationReason
from keyturn.domain.message import MessageState
from keyturn.domain.operator import OperatorKind
from keyturn.domain.rotation import OPEN_STATES, RotationState
from keyturn.domain.runtime import OTHER
from keyturn.domain.workspace import WorkspaceStatus


class Blob(LargeBinary):
    """Bytes as they are. (The stock type calls `bytes()` on what it reads: of a number planted in
    the column that would allocate so many bytes.)"""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> None:
        return None

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        return None


def _one_of(column: str, words: Iterable[str]) -> str:
    spelled = ", ".join(f"'{word}'" for word in words)
    return f"{column} IN ({spelled})"


TEXT = Text().with_variant(Text(collation="C"), "postgresql")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str, *, optional: bool = False) -> Column[str]:
    return Column(name, TEXT, nullable=optional)


def _number(name: str, *, optional: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=optional)


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index of those rows alone that `where` is true of. A query that is to go by it has to say
    `where` in the same words."""
    return Index(
        name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where)
    )


IS_OPEN = _one_of("state", sorted(OPEN_STATES, reverse=True))
IS_PRESENT = f"state <> '{DestinationState.REMOVED}'"
# A delivery that has something to do: its token is sealed in it, and in no other.
HAS_TOKEN = "token IS NOT NULL"
HAS_ENDED = _one_of("state", sorted(ENDED_STATES))
IS_UNRESOLVED = f"state <> '{FindingState.RESOLVED}'"
IS_OVERFLOW = f"runtime = '{OTHER}'"
IS_OPEN_INCIDENT = f"state <> '{IncidentState.CLOSED}'"
IS_ENDED = f"outcome = '{Outcome.CONFIRMED}'"
IS_WAIVED = "waiver IS NOT NULL"
IS_WAITING = f"state = '{MessageState.WAITING}'"


installation = Table(
    "installation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _text("installation_id"),
    _text("brand"),
    _text("root_fingerprint"),
    _text("pepper_fingerprints"),
    _number("created_at"),
    CheckConstraint("id = 1", name="single"),
)

change_head = Table(
    "change_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _text("epoch"),
    _number("position"),
    _number("activity_number"),
    Column("activity_hash", Blob, nullable=False),
    Column("mac", Blob, nullable=False),
    CheckConstraint("id = 1", name="single"),
    postgresql_with={"fillfactor": 50},
)

changes = Table(
    "changes",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    _text("kind"),
    _text("ref"),
    _number("version"),
    _text("workspace_id", optional=True),
    _number("at"),
    Column("mac", Blob, nullable=False),
    Index("ix_changes_kind_ref_position", "kind", "ref", "position"),
)

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", TEXT, primary_key=True),
    _text("name"),
    _text("status"),
    _text("networks"),
    _number("created_at"),
    _number("updated_at"),
    _number("version"),
    Column("mac", Blob, nullable=False),
    _text("policy", optional=True),
    _number("resumed_at", optional=True),
    _text("reveal", optional=True),
    _number("grace_seconds", optional=True),
    _number("grace_before", optional=True),
    _number("grace_lowered_at", optional=True),
    CheckConstraint(_one_of("status", WorkspaceStatus), name="status"),
)

operators = Table(
    "operators",
    metadata,
    Column("id", TEXT, primary_key=True),
    _text("name"),
    _text("kind"),
    Column("digest", Blob, nullable=False),
    _text("peppers"),
    _number("created_at"),
    _number("expires_at", optional=True),
    _number("revoked_at", optional=True),
    _number("updated_at"),
    _number("version"),
    Column("mac", Blob, nullable=False),
    CheckConstraint(_one_of("kind", OperatorKind), name="kind"),
)

slots = Table(
    "slots",
    metadata,
    _text("workspace_id"),
    _text("service"),
    _text("environment"),
    _text("owner", optional=True),
    _text("purpose", optional=True),
    _text("runbook_url", optional=True),
    _number("rotation_period_days", optional=True),
    _text("runtimes", optional=True),
    _number("created_at"),
    _number("updated_at"),
    _number("version"),
    Column("mac", Blob, nullable=False),
    _text("destinations", optional=True),
    PrimaryKeyConstraint("workspace_id", "service", "environment"),
    Index("ix_slots_workspace_id_owner", "workspace_id", "owner"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", TEXT, primary_key=True),
    _text("workspace_id"),
    _text("service"),
    _text("environment"),
    _text("brand"),
    _text("name"),
    _text("scopes"),
    _text("permissions"),
    _text("allowed_cidrs"),
    _text("metadata"),
    _text("status"),
    Column("compromised", Integer, nullable=False),
    Column("digest", Blob, nullable=False),
    _text("peppers"),
    _number("created_at"),
    _text("created_by", optional=True),
    _number("not_before", optional=True),
    _number("expires_at", optional=True),
    _number("last_rotated_at", optional=True),
    _number("updated_at"),
    _number("revoked_at", optional=True),
    _text("revocation_reason", optional=True),
    _number("version"),
    Column("mac", Blob, nullable=False),
    CheckConstraint(_one_of("status", KeyState), name="status"),
    CheckConstraint(_one_of("revocation_reason", RevocationReason), name="revocation_reason"),
    CheckConstraint("(status = 'revoked') = (revoked_at IS NOT NULL)", name="revoked_at"),
    Index("ix_keys_workspace_id_id", "workspace_id", "id"),
    Index("ix_keys_workspace_id_status_id", "workspace_id", "status", "id"),
    Index("ix_keys_slot", "workspace_id", "service", "environment", "id"),
    Index("ix_keys_workspace_id_created_by", "workspace_id", "created_by", "id"),
)

key_usage = Table(
    "key_usage",
    metadata,
    Column("key_id", TEXT, primary_key=True),
    _number("last_used_at", optional=True),
    _number("allowed"),
    _number("denied"),
    postgresql_with={"fillfactor": 70},
)

uses = Table(
    "uses",
    metadata,
    _text("key_id"),
    _text("runtime"),
    Column("declared", Integer, nullable=False),
    _text("environment"),
    _text("place"),
    _number("first_seen_at", optional=True),
    _number("last_seen_at", optional=True),
    _number("last_denied_at", optional=True),
    _number("checked_in_at", optional=True),
    _number("longest_gap", optional=True),
    _number("allowed"),
    _number("denied"),
    PrimaryKeyConstraint("key_id", "runtime", "declared", "environment", "place"),
    _partial("ix_uses_overflowing", "key_id", where=IS_OVERFLOW),
    postgresql_with={"fillfactor": 70},
)

rotations = Table(
    "rotations",
    metadata,
    Column("id", TEXT, primary_key=True),
    _text("workspace_id"),
    _text("service"),
    _text("environment"),
    _text("old_key_id"),
    _text("new_key_id"),
    _text("state"),
    _number("quiet_seconds"),
    _number("brownout_seconds"),
    _number("lookback_seconds"),
    Column("auto_complete", Integer, nullable=False),
    _number("started_at"),
    _text("started_by"),
    _number("deadline"),
    _text("brownout", optional=True),
    _number("lifts"),
    _number("lifted_at", optional=True),
    _text("met"),
    _text("decisions"),
    _number("ended_at", optional=True),
    _text("ended_by", optional=True),
    _text("end_reason", optional=True),
    Column("forced", Integer, nullable=False),
    _text("evidence", optional=True),
    _number("evidence_until", optional=True),
    _number("updated_at"),
    _number("version"),
    Column("mac", Blob, nullable=False),
    CheckConstraint(_one_of("state", RotationState), name="state"),
    CheckConstraint(f"({IS_OPEN}) = (ended_at IS NULL)", name="ended_at"),
    Index("ix_rotations_workspace_id_id", "workspace_id", "id"),
    Index("ix_rotations_workspace_id_old_key_id", "workspace_id", "old_key_id"),
    # At most one rotation of a slot is open.
    _partial(
        "uq_rotations_open_slot",
        "workspace_id",
        "service",
        "environment",
        where=IS_OPEN,
        unique=True,
    ),
    _partial("ix_rotations_open_id", "id", where=IS_OPEN),
    _partial("ix_rotations_open_old_key_id", "old_key_id", where=IS_OPEN),
    _partial("ix_rotations_open_new_key_id", "new_key_id", where=IS_OPEN),
)

destinations = Table(
    "destinations",
    metadata,
    Column("id", TEXT, primary_key=True),
    _text("workspace_id"),
    _text("name"),
    _text("kind"),
    _text("config"),
    Column("credential", Blob, nullable=True),
    _text("nonce"),
    _text("state"),
    _number("proven_at", optional=True),
    _text("fault", optional=True),
    _number("created_at"),
    _text("created_by"),
    _number("updated_at"),
    _number("version"),
    Column("mac", Blob, nullable=False),
    CheckConstraint(_one_of("state", DestinationState), name="state"),
    CheckConstraint("(state = 'removed') = (credential IS NULL)", name="credential"),
    Index("ix_destinations_workspace_id_id", "workspace_id", "id"),
    # A name is one destination's until that is removed.
    _partial("uq_destinations_name", "workspace_id", "name", where=IS_PRESENT, unique=True),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", TEXT, primary_key=True),
    _text("workspace_id"),
    _text("service"),
    _text("environment"),
    _text("key_id"),
    _text("rotation_id", optional=True),
    _text("destination_id"),
    _text("destination"),
    _text("state"),
    Column("token", Blob, nullable=True),
    Column("previous", Blob, nullable=True),
    _text("mark", optional=True),
    _number("begun_at", optional=True),
    _number("attempts"),
    _number("failures"),
    _number("next_at"),
    _text("fault_kind", optional=True),
    _text("fault", optional=True),
    _text("location", optional=True),
    _text("receipt", optional=True),
    _number("delivered_at", optional=True),
    _number("checked_at", optional=True),
    _number("ended_at", optional=True),
    _number("created_at"),
    _text("created_by"),
    _number("updated_at"),
    Column("mac", Blob, nullable=False),
    CheckConstraint(_one_of("state", DeliveryState), name="state"),
    Index("ix_deliveries_workspace_id_id", "workspace_id", "id"),
    Index("ix_deliveries_key_id_id", "key_id", "id"),
    Index("ix_deliveries_destination_id_id", "destination_id", "id"),
    # What is to be done at one place, in its order.
    _partial(
        "ix_deliveries_place",
        "destination_id",
        "service",
        "environment",
        "id",
        where=HAS_TOKEN,
    ),
    _partial("ix_deliveries_due", "next_at", "id", where=HAS_TOKEN),
    _partial("ix_deliveries_ended", "updated_at", where=HAS_ENDED),
)

findings = Table(
    "findings",
    metadata,
    Column("id", TEXT, primary_key=True),
    _text("workspace_id"),
    _text("kind"),
    _text("subject_type"),
    _text("subject_id"),
    _text("service"),
    _text("environment"),
    _text("mark"),
    _text("severity"),
    _text("state"),
    _number("since"),
    _text("evidence"),
    _number("acknowledged_at", optional=True),
    _text("acknowledged_by", optional=True),
    _text("acknowledge_reason", optional=True),
    _number("resolved_at", optional=True),
    _number("updated_at"),
    _number("version"),
    Column("mac", Blob, nullable=False),
    CheckConstraint(_one_of("subject_type", SubjectType), name="subject_type"),
    CheckConstraint(_one_of("severity", Severity), name="severity"),
    CheckConstraint(_one_of("state", FindingState), name="state"),
    CheckConstraint("(state = 'resolved') = (resolved_at IS NOT NULL)", name="resolved_at"),
    Index("ix_findings_workspace_id_id", "workspace_id", "id"),
    Index("ix_findings_identity", "workspace_id", "kind", "subject_id", "mark"),
    # Of findings that are the same at most one is not resolved.
    _partial(
        "uq_findings_unresolved",
        "workspace_id",
        "kind",
        "subject_id",
        "mark",
        where=IS_UNRESOLVED,
        unique=True,
    ),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", TEXT, primary_key=True),
    _text("workspace_id"),
    _text("state"),
    _text("reason"),
    _text("detail", optional=True),
    _text("found_url", optional=True),
    _number("exposed_since", optional=True),
    _text("containment"),
    _number("opened_at"),
    _text("opened_by"),
    _number("contained_at"),
    _number("counted_at", optional=True),
    _text("keys_hash"),
    _text("placements"),
    _text("unreached"),
    _number("closed_at", optional=True),
    _text("closed_by", optional=True),
    _text("outcome", optional=True),
    _number("updated_at"),
    _number("version"),
    Column("mac", Blob, nullable=False),
    CheckConstraint(_one_of("state", IncidentState), name="state"),
    CheckConstraint(_one_of("reason", IncidentReason), name="reason"),
    CheckConstraint(_one_of("containment", Containment), name="containment"),
    CheckConstraint(_one_of("outcome", Outcome), name="outcome"),
    CheckConstraint("(state = 'closed') = (closed_at IS NOT NULL)", name="closed_at"),
    Index("ix_incidents_workspace_id_id", "workspace_id", "id"),
    _partial("ix_incidents_open_id", "id", where=IS_OPEN_INCIDENT),
    _partial("ix_incidents_ended_id", "id", where=IS_ENDED),
)

# Each row is under a seal; which versions are the last stands in the row of the incident.
incident_keys = Table(
    "incident_keys",
    metadata,
    _text("incident_id"),
    _text("key_id"),
    _text("workspace_id"),
    _text("name"),
    _text("service"),
    _text("environment"),
    _text("because"),
    _text("state_before"),
    _number("exposed_since"),
    _number("contained_at"),
    _text("replacement_key_id", optional=True),
    _number("replaced_at", optional=True),
    _number("recovered_at", optional=True),
    _text("waiver", optional=True),
    _number("updated_at"),
    _number("version"),
    Column("mac", Blob, nullable=False),
    PrimaryKeyConstraint("incident_id", "key_id"),
    CheckConstraint(_one_of("because", Because), name="because"),
    CheckConstraint(_one_of("state_before", KeyState), name="state_before"),
    Index("ix_incident_keys_key_id", "key_id", "incident_id"),
    _partial("ix_incident_keys_waived", "incident_id", where=IS_WAIVED),
)

channels = Table(
    "channels",
    metadata,
    Column("id", TEXT, primary_key=True),
    _text("workspace_id"),
    _text("kind"),
    _text("name"),
    _text("url", optional=True),
    _text("addresses"),
    Column("to_owners", Integer, nullable=False),
    _text("events"),
    _text("state"),
    _text("reason", optional=True),
    _text("secrets"),
    _number("since"),
    _number("created_at"),
    _text("created_by"),
    _number("updated_at"),
    _number("version"),
    Column("mac", Blob, nullable=False),
    CheckConstraint(_one_of("kind", ChannelKind), name="kind"),
    CheckConstraint(_one_of("state", ChannelState), name="state"),
    Index("ix_channels_workspace_id_id", "workspace_id", "id"),
)

posture_waivers = Table(
    "posture_waivers",
    metadata,
    Column("id", TEXT, primary_key=True),
    _text("workspace_id"),
    _text("check_id"),
    _text("key_id", optional=True),
    _text("service", optional=True),
    _text("environment", optional=True),
    _text("reason"),
    _number("until"),
    _number("created_at"),
    _text("created_by"),
    _number("ended_at", optional=True),
    _text("ended_by", optional=True),
    _number("updated_at"),
    _number("version"),
    Column("mac", Blob, nullable=False),
    CheckConstraint("(service IS NULL) = (environment IS NULL)", name="slot"),
    CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="ended_by"),
    Index("ix_posture_waivers_workspace_id_id", "workspace_id", "id"),
)

# The seal is over what a message is (up to `created_at`); how far it has come changes with each
# attempt, and is none of what is signed and sent.
messages = Table(
    "messages",
    metadata,
    Column("id", TEXT, primary_key=True),
    _text("channel_id"),
    _text("workspace_id"),
    _number("number"),
    _text("event"),
    _text("subject"),
    _text("body"),
    _text("recipients"),
    _number("created_at"),
    Column("mac", Blob, nullable=False),
    _text("state"),
    _number("tries"),
    _number("due_at"),
    _number("hurries"),
    _number("ended_at", optional=True),
    _text("reason", optional=True),
    _text("reached"),
    _text("attempts"),
    CheckConstraint(_one_of("state", MessageState), name="state"),
    Index("ix_messages_workspace_id_id", "workspace_id", "id"),
    Index("ix_messages_channel_id_id", "channel_id", "id"),
    Index("ix_messages_state_ended_at", "state", "ended_at"),
    Index("ix_messages_channel_id_ended_at", "channel_id", "state", "ended_at"),
    _partial("ix_messages_waiting", "channel_id", "subject", "number", where=IS_WAITING),
    postgresql_with={"fillfactor": 70},
)

announced = Table(
    "announced",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _number("number"),
    Column("mac", Blob, nullable=False),
    CheckConstraint("id = 1", name="single"),
)

requests = Table(
    "requests",
    metadata,
    Column("id", TEXT, primary_key=True),
    _text("request_id"),
    _number("at"),
    _text("workspace_id", optional=True),
    _text("key_id", optional=True),
    Column("valid", Integer, nullable=False),
    _text("code"),
    _text("runtime"),
    Column("declared", Integer, nullable=False),
    _text("ip", optional=True),
    _text("ip_order", optional=True),
    _text("user_agent", optional=True),
    _text("method", optional=True),
    _text("path", optional=True),
    _text("scopes"),
    _text("environment", optional=True),
    _text("named_network", optional=True),
    _text("country", optional=True),
    _text("browser", optional=True),
    Index("ix_requests_workspace_id_at_id", "workspace_id", "at", "id"),
    Index("ix_requests_key_id_at_id", "key_id", "at", "id"),
    Index("ix_requests_workspace_id_request_id", "workspace_id", "request_id"),
    Index("ix_requests_at", "at"),
)

traffic = Table(
    "traffic",
    metadata,
    _text("key_id"),
    _number("hour"),
    _text("facet"),
    _text("value"),
    _number("allowed"),
    _number("denied"),
    _number("first_at"),
    _number("last_at"),
    PrimaryKeyConstraint("key_id", "hour", "facet", "value"),
    Index("ix_traffic_hour", "hour"),
    postgresql_with={"fillfactor": 70},
    sqlite_with_rowid=False,
)

activity = Table(
    "activity",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    _text("id"),
    _text("workspace_id", optional=True),
    _text("actor_type", optional=True),
    _text("actor_id", optional=True),
    _text("actor_label", optional=True),
    _text("action", optional=True),
    _text("category", optional=True),
    _text("resource_type", optional=True),
    _text("resource_id", optional=True),
    _number("resource_version", optional=True),
    _text("status", optional=True),
    _text("message", optional=True),
    _text("metadata", optional=True),
    _text("request_id", optional=True),
    _number("retention_days"),
    _number("created_at"),
    _number("expires_at"),
    _number("position", optional=True),
    Column("content_hash", Blob, nullable=False),
    Column("hash", Blob, nullable=False),
    Index("ix_activity_workspace_id_number", "workspace_id", "number"),
    Index("ix_activity_resource", "workspace_id", "resource_type", "resource_id", "number"),
    Index("ix_activity_actor", "workspace_id", "actor_id", "number"),
    Index("ix_activity_workspace_id_request_id", "workspace_id", "request_id"),
    # Of the entries that still have a content, which alone are looked for by their end.
    _partial("ix_activity_expires_at", "expires_at", where="action IS NOT NULL"),
)

heartbeat = Table(
    "heartbeat",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _number("seen_at"),
    _number("unbroken_since"),
    CheckConstraint("id = 1", name="single"),
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", TEXT, primary_key=True),
    _text("name"),
    _text("version"),
    _number("started_at"),
    _number("applied"),
    _number("promised"),
    _number("lease_until"),
    _number("settled_until"),
    _number("left_at", optional=True),
    _number("seen_at"),
    postgresql_with={"fillfactor": 50},
)

idempotency = Table(
    "idempotency",
    metadata,
    _text("caller_id"),
    _text("workspace_id"),
    _text("route"),
    _text("idempotency_key"),
    Column("body_hash", Blob, nullable=False),
    Column("status", Integer, nullable=False),
    _text("headers"),
    _text("body"),
    _number("created_at"),
    Column("mac", Blob, nullable=False),
    PrimaryKeyConstraint("caller_id", "workspace_id", "route", "idempotency_key"),
    Index("ix_idempotency_created_at", "created_at"),
)
