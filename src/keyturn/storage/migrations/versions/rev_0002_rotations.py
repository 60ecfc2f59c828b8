"""Rotations and findings; uses in the place of runtimes; a workspace's policy."""

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

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = Text().with_variant(Text(collation="C"), "postgresql")
Blob = LargeBinary

OPEN = "state IN ('overlapping', 'brownout')"
UNRESOLVED = "state <> 'resolved'"
OVERFLOW = "runtime = 'other'"


def upgrade() -> None:
    op.add_column("workspaces", Column("policy", TEXT, nullable=True))
    op.add_column("workspaces", Column("resumed_at", BigInteger(), nullable=True))
    _make_uses()
    _make_rotations()
    _make_findings()
    op.create_table(
        "heartbeat",
        Column("id", Integer(), autoincrement=False, nullable=False),
        Column("seen_at", BigInteger(), nullable=False),
        Column("unbroken_since", BigInteger(), nullable=False),
        CheckConstraint("id = 1", name=op.f("ck_heartbeat_single")),
        PrimaryKeyConstraint("id", name=op.f("pk_heartbeat")),
    )


def _make_uses() -> None:
    op.create_table(
        "uses",
        Column("key_id", TEXT, nullable=False),
        Column("runtime", TEXT, nullable=False),
        Column("declared", Integer(), nullable=False),
        Column("environment", TEXT, nullable=False),
        Column("place", TEXT, nullable=False),
        Column("first_seen_at", BigInteger(), nullable=True),
        Column("last_seen_at", BigInteger(), nullable=True),
        Column("last_denied_at", BigInteger(), nullable=True),
        Column("checked_in_at", BigInteger(), nullable=True),
        Column("longest_gap", BigInteger(), nullable=True),
        Column("allowed", BigInteger(), nullable=False),
        Column("denied", BigInteger(), nullable=False),
        PrimaryKeyConstraint(
            "key_id", "runtime", "declared", "environment", "place", name=op.f("pk_uses")
        ),
        postgresql_with={"fillfactor": 70},
    )
    _partial_index("ix_uses_overflowing", "uses", ["key_id"], OVERFLOW)
    op.execute(
        "INSERT INTO uses (key_id, runtime, declared, environment, place, first_seen_at,"
        " last_seen_at, allowed, denied)"
        " SELECT key_id, runtime, declared, '', '', first_seen_at, last_seen_at, allowed, denied"
        " FROM runtimes"
    )
    op.drop_table("runtimes")


def _make_rotations() -> None:
    op.create_table(
        "rotations",
        Column("id", TEXT, nullable=False),
        Column("workspace_id", TEXT, nullable=False),
        Column("service", TEXT, nullable=False),
        Column("environment", TEXT, nullable=False),
        Column("old_key_id", TEXT, nullable=False),
        Column("new_key_id", TEXT, nullable=False),
        Column("state", TEXT, nullable=False),
        Column("quiet_seconds", BigInteger(), nullable=False),
        Column("brownout_seconds", BigInteger(), nullable=False),
        Column("lookback_seconds", BigInteger(), nullable=False),
        Column("auto_complete", Integer(), nullable=False),
        Column("started_at", BigInteger(), nullable=False),
        Column("started_by", TEXT, nullable=False),
        Column("deadline", BigInteger(), nullable=False),
        Column("brownout", TEXT, nullable=True),
        Column("lifts", BigInteger(), nullable=False),
        Column("lifted_at", BigInteger(), nullable=True),
        Column("met", TEXT, nullable=False),
        Column("decisions", TEXT, nullable=False),
        Column("ended_at", BigInteger(), nullable=True),
        Column("ended_by", TEXT, nullable=True),
        Column("end_reason", TEXT, nullable=True),
        Column("forced", Integer(), nullable=False),
        Column("evidence", TEXT, nullable=True),
        Column("evidence_until", BigInteger(), nullable=True),
        Column("updated_at", BigInteger(), nullable=False),
        Column("version", BigInteger(), nullable=False),
        Column("mac", Blob(), nullable=False),
        CheckConstraint(
            "state IN ('overlapping', 'brownout', 'completed', 'rolled_back', 'cancelled')",
            name=op.f("ck_rotations_state"),
        ),
        CheckConstraint(f"({OPEN}) = (ended_at IS NULL)", name=op.f("ck_rotations_ended_at")),
        PrimaryKeyConstraint("id", name=op.f("pk_rotations")),
    )
    op.create_index("ix_rotations_workspace_id_id", "rotations", ["workspace_id", "id"])
    slot = ["workspace_id", "service", "environment"]
    _partial_index("uq_rotations_open_slot", "rotations", slot, OPEN, unique=True)
    _partial_index("ix_rotations_open_id", "rotations", ["id"], OPEN)
    _partial_index("ix_rotations_open_old_key_id", "rotations", ["old_key_id"], OPEN)
    _partial_index("ix_rotations_open_new_key_id", "rotations", ["new_key_id"], OPEN)


def _make_findings() -> None:
    op.create_table(
        "findings",
        Column("id", TEXT, nullable=False),
        Column("workspace_id", TEXT, nullable=False),
        Column("kind", TEXT, nullable=False),
        Column("subject_type", TEXT, nullable=False),
        Column("subject_id", TEXT, nullable=False),
        Column("service", TEXT, nullable=False),
        Column("environment", TEXT, nullable=False),
        Column("mark", TEXT, nullable=False),
        Column("severity", TEXT, nullable=False),
        Column("state", TEXT, nullable=False),
        Column("since", BigInteger(), nullable=False),
        Column("evidence", TEXT, nullable=False),
        Column("acknowledged_at", BigInteger(), nullable=True),
        Column("acknowledged_by", TEXT, nullable=True),
        Column("acknowledge_reason", TEXT, nullable=True),
        Column("resolved_at", BigInteger(), nullable=True),
        Column("updated_at", BigInteger(), nullable=False),
        Column("version", BigInteger(), nullable=False),
        Column("mac", Blob(), nullable=False),
        CheckConstraint(
            "subject_type IN ('api_key', 'slot', 'rotation')",
            name=op.f("ck_findings_subject_type"),
        ),
        CheckConstraint(
            "severity IN ('info', 'warning', 'critical')", name=op.f("ck_findings_severity")
        ),
        CheckConstraint(
            "state IN ('open', 'acknowledged', 'resolved')", name=op.f("ck_findings_state")
        ),
        CheckConstraint(
            "(state = 'resolved') = (resolved_at IS NOT NULL)",
            name=op.f("ck_findings_resolved_at"),
        ),
        PrimaryKeyConstraint("id", name=op.f("pk_findings")),
    )
    op.create_index("ix_findings_workspace_id_id", "findings", ["workspace_id", "id"])
    identity = ["workspace_id", "kind", "subject_id", "mark"]
    op.create_index("ix_findings_identity", "findings", identity)
    _partial_index("uq_findings_unresolved", "findings", identity, UNRESOLVED, unique=True)


def _partial_index(
    name: str, table: str, columns: list[str], where: str, *, unique: bool = False
) -> None:
    op.create_index(
        name,
        table,
        columns,
        unique=unique,
        sqlite_where=text(where),
        postgresql_where=text(where),
    )
