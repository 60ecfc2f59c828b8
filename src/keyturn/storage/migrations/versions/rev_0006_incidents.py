"""Incidents and their keys; a finding may be of an incident. What a key has done is found by it."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
    text,
)

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TEXT = Text().with_variant(Text(collation="C"), "postgresql")
Blob = LargeBinary

OPEN = "state <> 'closed'"
ENDED = "outcome = 'confirmed'"
WAIVED = "waiver IS NOT NULL"
UNRESOLVED = "state <> 'resolved'"
SUBJECTS = "subject_type IN ('api_key', 'slot', 'rotation', 'incident')"


def upgrade() -> None:
    _make_incidents()
    _make_incident_keys()
    op.create_index(
        "ix_rotations_workspace_id_old_key_id", "rotations", ["workspace_id", "old_key_id"]
    )
    op.create_index("ix_activity_actor", "activity", ["workspace_id", "actor_id", "number"])
    if op.get_bind().dialect.name == "sqlite":
        _remake_findings()
    else:
        op.drop_constraint(op.f("ck_findings_subject_type"), "findings", type_="check")
        op.create_check_constraint(op.f("ck_findings_subject_type"), "findings", SUBJECTS)


def _make_incidents() -> None:
    op.create_table(
        "incidents",
        Column("id", TEXT, nullable=False),
        Column("workspace_id", TEXT, nullable=False),
        Column("state", TEXT, nullable=False),
        Column("reason", TEXT, nullable=False),
        Column("detail", TEXT, nullable=True),
        Column("found_url", TEXT, nullable=True),
        Column("exposed_since", BigInteger(), nullable=True),
        Column("containment", TEXT, nullable=False),
        Column("opened_at", BigInteger(), nullable=False),
        Column("opened_by", TEXT, nullable=False),
        Column("contained_at", BigInteger(), nullable=False),
        Column("counted_at", BigInteger(), nullable=True),
        Column("keys_hash", TEXT, nullable=False),
        Column("placements", TEXT, nullable=False),
        Column("unreached", TEXT, nullable=False),
        Column("closed_at", BigInteger(), nullable=True),
        Column("closed_by", TEXT, nullable=True),
        Column("outcome", TEXT, nullable=True),
        Column("updated_at", BigInteger(), nullable=False),
        Column("version", BigInteger(), nullable=False),
        Column("mac", Blob(), nullable=False),
        CheckConstraint(
            "state IN ('contained', 'investigating', 'replacing', 'recovering', 'closed')",
            name=op.f("ck_incidents_state"),
        ),
        CheckConstraint(
            "reason IN ('leaked', 'suspected', 'staff_change', 'other')",
            name=op.f("ck_incidents_reason"),
        ),
        CheckConstraint(
            "containment IN ('revoke', 'suspend')", name=op.f("ck_incidents_containment")
        ),
        CheckConstraint(
            "outcome IN ('confirmed', 'false_alarm')", name=op.f("ck_incidents_outcome")
        ),
        CheckConstraint(
            "(state = 'closed') = (closed_at IS NOT NULL)", name=op.f("ck_incidents_closed_at")
        ),
        PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
    )
    op.create_index("ix_incidents_workspace_id_id", "incidents", ["workspace_id", "id"])
    _partial_index("ix_incidents_open_id", "incidents", ["id"], OPEN)
    _partial_index("ix_incidents_ended_id", "incidents", ["id"], ENDED)


def _make_incident_keys() -> None:
    op.create_table(
        "incident_keys",
        Column("incident_id", TEXT, nullable=False),
        Column("key_id", TEXT, nullable=False),
        Column("workspace_id", TEXT, nullable=False),
        Column("name", TEXT, nullable=False),
        Column("service", TEXT, nullable=False),
        Column("environment", TEXT, nullable=False),
        Column("because", TEXT, nullable=False),
        Column("state_before", TEXT, nullable=False),
        Column("exposed_since", BigInteger(), nullable=False),
        Column("contained_at", BigInteger(), nullable=False),
        Column("replacement_key_id", TEXT, nullable=True),
        Column("replaced_at", BigInteger(), nullable=True),
        Column("recovered_at", BigInteger(), nullable=True),
        Column("waiver", TEXT, nullable=True),
        Column("updated_at", BigInteger(), nullable=False),
        Column("version", BigInteger(), nullable=False),
        Column("mac", Blob(), nullable=False),
        CheckConstraint(
            "because IN ('named', 'made_by_contained')", name=op.f("ck_incident_keys_because")
        ),
        CheckConstraint(
            "state_before IN ('active', 'suspended', 'revoked')",
            name=op.f("ck_incident_keys_state_before"),
        ),
        PrimaryKeyConstraint("incident_id", "key_id", name=op.f("pk_incident_keys")),
    )
    op.create_index("ix_incident_keys_key_id", "incident_keys", ["key_id", "incident_id"])
    _partial_index("ix_incident_keys_waived", "incident_keys", ["incident_id"], WAIVED)


def _remake_findings() -> None:
    """SQLite changes no constraint: the table is made anew, with what is in it."""
    for name in ("ix_findings_workspace_id_id", "ix_findings_identity", "uq_findings_unresolved"):
        op.drop_index(name, "findings")
    op.rename_table("findings", "findings_before")
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
        CheckConstraint(SUBJECTS, name=op.f("ck_findings_subject_type")),
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
    op.execute("INSERT INTO findings SELECT * FROM findings_before")
    op.drop_table("findings_before")
    op.create_index("ix_findings_workspace_id_id", "findings", ["workspace_id", "id"])
    identity = ["workspace_id", "kind", "subject_id", "mark"]
    op.create_index("ix_findings_identity", "findings", identity)
    op.create_index(
        "uq_findings_unresolved",
        "findings",
        identity,
        unique=True,
        sqlite_where=text(UNRESOLVED),
    )


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=text(where), postgresql_where=text(where))
