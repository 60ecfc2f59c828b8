"""What people have waived of the checklist."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
)

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TEXT = Text().with_variant(Text(collation="C"), "postgresql")
Blob = LargeBinary


def upgrade() -> None:
    op.create_table(
        "posture_waivers",
        Column("id", TEXT, nullable=False),
        Column("workspace_id", TEXT, nullable=False),
        Column("check_id", TEXT, nullable=False),
        Column("key_id", TEXT, nullable=True),
        Column("service", TEXT, nullable=True),
        Column("environment", TEXT, nullable=True),
        Column("reason", TEXT, nullable=False),
        Column("until", BigInteger(), nullable=False),
        Column("created_at", BigInteger(), nullable=False),
        Column("created_by", TEXT, nullable=False),
        Column("ended_at", BigInteger(), nullable=True),
        Column("ended_by", TEXT, nullable=True),
        Column("updated_at", BigInteger(), nullable=False),
        Column("version", BigInteger(), nullable=False),
        Column("mac", Blob(), nullable=False),
        CheckConstraint(
            "(service IS NULL) = (environment IS NULL)", name=op.f("ck_posture_waivers_slot")
        ),
        CheckConstraint(
            "(ended_at IS NULL) = (ended_by IS NULL)", name=op.f("ck_posture_waivers_ended_by")
        ),
        PrimaryKeyConstraint("id", name=op.f("pk_posture_waivers")),
    )
    op.create_index("ix_posture_waivers_workspace_id_id", "posture_waivers", ["workspace_id", "id"])
