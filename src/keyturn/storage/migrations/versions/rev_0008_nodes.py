"""The nodes that serve one database, and for how long a workspace lets one go on without it."""

from alembic import op
from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Text

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TEXT = Text().with_variant(Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "nodes",
        Column("id", TEXT, nullable=False),
        Column("name", TEXT, nullable=False),
        Column("version", TEXT, nullable=False),
        Column("started_at", BigInteger(), nullable=False),
        Column("applied", BigInteger(), nullable=False),
        Column("promised", BigInteger(), nullable=False),
        Column("lease_until", BigInteger(), nullable=False),
        Column("settled_until", BigInteger(), nullable=False),
        Column("left_at", BigInteger(), nullable=True),
        Column("seen_at", BigInteger(), nullable=False),
        PrimaryKeyConstraint("id", name=op.f("pk_nodes")),
        postgresql_with={"fillfactor": 50},
    )
    for name in ("grace_seconds", "grace_before", "grace_lowered_at"):
        op.add_column("workspaces", Column(name, BigInteger(), nullable=True))
