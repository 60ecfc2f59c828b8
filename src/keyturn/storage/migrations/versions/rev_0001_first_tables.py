"""The first tables.

A migration is history: it spells its tables out and does not follow `schema.py` as that changes.
"""

from alembic import op
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
    text,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = Text().with_variant(Text(collation="C"), "postgresql")
Blob = LargeBinary


def upgrade() -> None:
    op.create_table(
        "activity",
        Column("number", BigInteger(), autoincrement=False, nullable=False),
        Column("id", TEXT, nullable=False),
        Column("workspace_id", TEXT, nullable=True),
        Column("actor_type", TEXT, nullable=True),
        Column("actor_id", TEXT, nullable=True),
        Column("actor_label", TEXT, nullable=True),
        Column("action", TEXT, nullable=True),
        Column("category", TEXT, nullable=True),
        Column("resource_type", TEXT, nullable=True),
        Column("resource_id", TEXT, nullable=True),
        Column("resource_version", BigInteger(), nullable=True),
        Column("status", TEXT, nullable=True),
        Column("message", TEXT, nullable=True),
        Column("metadata", TEXT, nullable=True),
        Column("request_id", TEXT, nullable=True),
        Column("retention_days", BigInteger(), nullable=False),
        Column("created_at", BigInteger(), nullable=False),
        Column("expires_at", BigInteger(), nullable=False),
        Column("position", BigInteger(), nullable=True),
        Column("content_hash", Blob(), nullable=False),
        Column("hash", Blob(), nullable=False),
        PrimaryKeyConstraint("number", name=op.f("pk_activity")),
    )
    op.create_index(
        "ix_activity_expires_at",
        "activity",
        ["expires_at"],
        unique=False,
        sqlite_where=text("action IS NOT NULL"),
        postgresql_where=text("action IS NOT NULL"),
    )
    op.create_index(
        "ix_activity_resource",
        "activity",
        ["workspace_id", "resource_type", "resource_id", "number"],
        unique=False,
    )
    op.create_index(
        "ix_activity_workspace_id_number", "activity", ["workspace_id", "number"], unique=False
    )
    op.create_index(
        "ix_activity_workspace_id_request_id",
        "activity",
        ["workspace_id", "request_id"],
        unique=False,
    )
    op.create_table(
        "change_head",
        Column("id", Integer(), autoincrement=False, nullable=False),
        Column("epoch", TEXT, nullable=False),
        Column("position", BigInteger(), nullable=False),
        Column("activity_number", BigInteger(), nullable=False),
        Column("activity_hash", Blob(), nullable=False),
        Column("mac", Blob(), nullable=False),
        CheckConstraint("id = 1", name=op.f("ck_change_head_single")),
        PrimaryKeyConstraint("id", name=op.f("pk_change_head")),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "changes",
        Column("position", BigInteger(), autoincrement=False, nullable=False),
        Column("kind", TEXT, nullable=False),
        Column("ref", TEXT, nullable=False),
        Column("version", BigInteger(), nullable=False),
        Column("workspace_id", TEXT, nullable=True),
        Column("at", BigInteger(), nullable=False),
        Column("mac", Blob(), nullable=False),
        PrimaryKeyConstraint("position", name=op.f("pk_changes")),
    )
    op.create_index(
        "ix_changes_kind_ref_position", "changes", ["kind", "ref", "position"], unique=False
    )
    op.create_table(
        "idempotency",
        Column("caller_id", TEXT, nullable=False),
        Column("workspace_id", TEXT, nullable=False),
        Column("route", TEXT, nullable=False),
        Column("idempotency_key", TEXT, nullable=False),
        Column("body_hash", Blob(), nullable=False),
        Column("status", Integer(), nullable=False),
        Column("headers", TEXT, nullable=False),
        Column("body", TEXT, nullable=False),
        Column("created_at", BigInteger(), nullable=False),
        Column("mac", Blob(), nullable=False),
        PrimaryKeyConstraint(
            "caller_id", "workspace_id", "route", "idempotency_key", name=op.f("pk_idempotency")
        ),
    )
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"], unique=False)
    op.create_table(
        "installation",
        Column("id", Integer(), autoincrement=False, nullable=False),
        Column("installation_id", TEXT, nullable=False),
        Column("brand", TEXT, nullable=False),
        Column("root_fingerprint", TEXT, nullable=False),
        Column("pepper_fingerprints", TEXT, nullable=False),
        Column("created_at", BigInteger(), nullable=False),
        CheckConstraint("id = 1", name=op.f("ck_installation_single")),
        PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    op.create_table(
        "key_usage",
        Column("key_id", TEXT, nullable=False),
        Column("last_used_at", BigInteger(), nullable=True),
        Column("allowed", BigInteger(), nullable=False),
        Column("denied", BigInteger(), nullable=False),
        PrimaryKeyConstraint("key_id", name=op.f("pk_key_usage")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_table(
        "keys",
        Column("id", TEXT, nullable=False),
        Column("workspace_id", TEXT, nullable=False),
        Column("service", TEXT, nullable=False),
        Column("environment", TEXT, nullable=False),
        Column("brand", TEXT, nullable=False),
        Column("name", TEXT, nullable=False),
        Column("scopes", TEXT, nullable=False),
        Column("permissions", TEXT, nullable=False),
        Column("allowed_cidrs", TEXT, nullable=False),
        Column("metadata", TEXT, nullable=False),
        Column("status", TEXT, nullable=False),
        Column("compromised", Integer(), nullable=False),
        Column("digest", Blob(), nullable=False),
        Column("peppers", TEXT, nullable=False),
        Column("created_at", BigInteger(), nullable=False),
        Column("created_by", TEXT, nullable=True),
        Column("not_before", BigInteger(), nullable=True),
        Column("expires_at", BigInteger(), nullable=True),
        Column("last_rotated_at", BigInteger(), nullable=True),
        Column("updated_at", BigInteger(), nullable=False),
        Column("revoked_at", BigInteger(), nullable=True),
        Column("revocation_reason", TEXT, nullable=True),
        Column("version", BigInteger(), nullable=False),
        Column("mac", Blob(), nullable=False),
        CheckConstraint(
            "(status = 'revoked') = (revoked_at IS NOT NULL)", name=op.f("ck_keys_revoked_at")
        ),
        CheckConstraint(
            "revocation_reason IN ('superseded', 'unused', 'staff_change', 'compromised', 'other')",
            name=op.f("ck_keys_revocation_reason"),
        ),
        CheckConstraint(
            "status IN ('active', 'suspended', 'revoked')", name=op.f("ck_keys_status")
        ),
        PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )
    op.create_index(
        "ix_keys_slot", "keys", ["workspace_id", "service", "environment", "id"], unique=False
    )
    op.create_index(
        "ix_keys_workspace_id_created_by",
        "keys",
        ["workspace_id", "created_by", "id"],
        unique=False,
    )
    op.create_index("ix_keys_workspace_id_id", "keys", ["workspace_id", "id"], unique=False)
    op.create_index(
        "ix_keys_workspace_id_status_id", "keys", ["workspace_id", "status", "id"], unique=False
    )
    op.create_table(
        "operators",
        Column("id", TEXT, nullable=False),
        Column("name", TEXT, nullable=False),
        Column("kind", TEXT, nullable=False),
        Column("digest", Blob(), nullable=False),
        Column("peppers", TEXT, nullable=False),
        Column("created_at", BigInteger(), nullable=False),
        Column("expires_at", BigInteger(), nullable=True),
        Column("revoked_at", BigInteger(), nullable=True),
        Column("updated_at", BigInteger(), nullable=False),
        Column("version", BigInteger(), nullable=False),
        Column("mac", Blob(), nullable=False),
        CheckConstraint("kind IN ('operator', 'gateway')", name=op.f("ck_operators_kind")),
        PrimaryKeyConstraint("id", name=op.f("pk_operators")),
    )
    op.create_table(
        "requests",
        Column("id", TEXT, nullable=False),
        Column("request_id", TEXT, nullable=False),
        Column("at", BigInteger(), nullable=False),
        Column("workspace_id", TEXT, nullable=True),
        Column("key_id", TEXT, nullable=True),
        Column("valid", Integer(), nullable=False),
        Column("code", TEXT, nullable=False),
        Column("runtime", TEXT, nullable=False),
        Column("declared", Integer(), nullable=False),
        Column("ip", TEXT, nullable=True),
        Column("ip_order", TEXT, nullable=True),
        Column("user_agent", TEXT, nullable=True),
        Column("method", TEXT, nullable=True),
        Column("path", TEXT, nullable=True),
        Column("scopes", TEXT, nullable=False),
        Column("environment", TEXT, nullable=True),
        PrimaryKeyConstraint("id", name=op.f("pk_requests")),
    )
    op.create_index("ix_requests_at", "requests", ["at"], unique=False)
    op.create_index("ix_requests_key_id_at_id", "requests", ["key_id", "at", "id"], unique=False)
    op.create_index(
        "ix_requests_workspace_id_at_id", "requests", ["workspace_id", "at", "id"], unique=False
    )
    op.create_index(
        "ix_requests_workspace_id_request_id",
        "requests",
        ["workspace_id", "request_id"],
        unique=False,
    )
    op.create_table(
        "runtimes",
        Column("key_id", TEXT, nullable=False),
        Column("runtime", TEXT, nullable=False),
        Column("declared", Integer(), nullable=False),
        Column("first_seen_at", BigInteger(), nullable=True),
        Column("last_seen_at", BigInteger(), nullable=True),
        Column("allowed", BigInteger(), nullable=False),
        Column("denied", BigInteger(), nullable=False),
        PrimaryKeyConstraint("key_id", "runtime", "declared", name=op.f("pk_runtimes")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_table(
        "slots",
        Column("workspace_id", TEXT, nullable=False),
        Column("service", TEXT, nullable=False),
        Column("environment", TEXT, nullable=False),
        Column("owner", TEXT, nullable=True),
        Column("purpose", TEXT, nullable=True),
        Column("runbook_url", TEXT, nullable=True),
        Column("rotation_period_days", BigInteger(), nullable=True),
        Column("runtimes", TEXT, nullable=True),
        Column("created_at", BigInteger(), nullable=False),
        Column("updated_at", BigInteger(), nullable=False),
        Column("version", BigInteger(), nullable=False),
        Column("mac", Blob(), nullable=False),
        PrimaryKeyConstraint("workspace_id", "service", "environment", name=op.f("pk_slots")),
    )
    op.create_index("ix_slots_workspace_id_owner", "slots", ["workspace_id", "owner"], unique=False)
    op.create_table(
        "workspaces",
        Column("id", TEXT, nullable=False),
        Column("name", TEXT, nullable=False),
        Column("status", TEXT, nullable=False),
        Column("networks", TEXT, nullable=False),
        Column("created_at", BigInteger(), nullable=False),
        Column("updated_at", BigInteger(), nullable=False),
        Column("version", BigInteger(), nullable=False),
        Column("mac", Blob(), nullable=False),
        CheckConstraint("status IN ('active', 'suspended')", name=op.f("ck_workspaces_status")),
        PrimaryKeyConstraint("id", name=op.f("pk_workspaces")),
    )
