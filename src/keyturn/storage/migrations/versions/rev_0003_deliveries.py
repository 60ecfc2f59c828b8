"""Destinations and deliveries; a slot's destinations; whether a workspace shows tokens."""

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

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = Text().with_variant(Text(collation="C"), "postgresql")
Blob = LargeBinary


def upgrade() -> None:
    op.add_column("workspaces", Column("reveal", TEXT, nullable=True))
    op.add_column("slots", Column("destinations", TEXT, nullable=True))
    _make_destinations()
    _make_deliveries()


def _make_destinations() -> None:
    op.create_table(
        "destinations",
        Column("id", TEXT, nullable=False),
        Column("workspace_id", TEXT, nullable=False),
        Column("name", TEXT, nullable=False),
        Column("kind", TEXT, nullable=False),
        Column("config", TEXT, nullable=False),
        Column("credential", Blob(), nullable=True),
        Column("nonce", TEXT, nullable=False),
        Column("state", TEXT, nullable=False),
        Column("proven_at", BigInteger(), nullable=True),
        Column("fault", TEXT, nullable=True),
        Column("created_at", BigInteger(), nullable=False),
        Column("created_by", TEXT, nullable=False),
        Column("updated_at", BigInteger(), nullable=False),
        Column("version", BigInteger(), nullable=False),
        Column("mac", Blob(), nullable=False),
        CheckConstraint(
            "state IN ('unproven', 'proven', 'removed')", name=op.f("ck_destinations_state")
        ),
        CheckConstraint(
            "(state = 'removed') = (credential IS NULL)", name=op.f("ck_destinations_credential")
        ),
        PrimaryKeyConstraint("id", name=op.f("pk_destinations")),
    )
    op.create_index("ix_destinations_workspace_id_id", "destinations", ["workspace_id", "id"])
    name = ["workspace_id", "name"]
    _partial_index("uq_destinations_name", "destinations", name, "state <> 'removed'", unique=True)


def _make_deliveries() -> None:
    op.create_table(
        "deliveries",
        Column("id", TEXT, nullable=False),
        Column("workspace_id", TEXT, nullable=False),
        Column("service", TEXT, nullable=False),
        Column("environment", TEXT, nullable=False),
        Column("key_id", TEXT, nullable=False),
        Column("rotation_id", TEXT, nullable=True),
        Column("destination_id", TEXT, nullable=False),
        Column("destination", TEXT, nullable=False),
        Column("state", TEXT, nullable=False),
        Column("token", Blob(), nullable=True),
        Column("previous", Blob(), nullable=True),
        Column("mark", TEXT, nullable=True),
        Column("begun_at", BigInteger(), nullable=True),
        Column("attempts", BigInteger(), nullable=False),
        Column("failures", BigInteger(), nullable=False),
        Column("next_at", BigInteger(), nullable=False),
        Column("fault_kind", TEXT, nullable=True),
        Column("fault", TEXT, nullable=True),
        Column("location", TEXT, nullable=True),
        Column("receipt", TEXT, nullable=True),
        Column("delivered_at", BigInteger(), nullable=True),
        Column("checked_at", BigInteger(), nullable=True),
        Column("ended_at", BigInteger(), nullable=True),
        Column("created_at", BigInteger(), nullable=False),
        Column("created_by", TEXT, nullable=False),
        Column("updated_at", BigInteger(), nullable=False),
        Column("mac", Blob(), nullable=False),
        CheckConstraint(
            "state IN ('waiting', 'delivered', 'restoring', 'restored', 'superseded', 'cancelled')",
            name=op.f("ck_deliveries_state"),
        ),
        PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_workspace_id_id", "deliveries", ["workspace_id", "id"])
    op.create_index("ix_deliveries_key_id_id", "deliveries", ["key_id", "id"])
    op.create_index("ix_deliveries_destination_id_id", "deliveries", ["destination_id", "id"])
    place = ["destination_id", "service", "environment", "id"]
    _partial_index("ix_deliveries_place", "deliveries", place, "token IS NOT NULL")
    _partial_index("ix_deliveries_due", "deliveries", ["next_at", "id"], "token IS NOT NULL")
    ended = "state IN ('cancelled', 'restored', 'superseded')"
    _partial_index("ix_deliveries_ended", "deliveries", ["updated_at"], ended)


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
