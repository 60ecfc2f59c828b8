"""Channels, the messages to them, and how far the log was announced."""

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

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT = Text().with_variant(Text(collation="C"), "postgresql")
Blob = LargeBinary

WAITING = "state = 'waiting'"


def upgrade() -> None:
    _make_channels()
    _make_messages()
    op.create_table(
        "announced",
        Column("id", Integer(), autoincrement=False, nullable=False),
        Column("number", BigInteger(), nullable=False),
        Column("mac", Blob(), nullable=False),
        CheckConstraint("id = 1", name=op.f("ck_announced_single")),
        PrimaryKeyConstraint("id", name=op.f("pk_announced")),
    )


def _make_channels() -> None:
    op.create_table(
        "channels",
        Column("id", TEXT, nullable=False),
        Column("workspace_id", TEXT, nullable=False),
        Column("kind", TEXT, nullable=False),
        Column("name", TEXT, nullable=False),
        Column("url", TEXT, nullable=True),
        Column("addresses", TEXT, nullable=False),
        Column("to_owners", Integer(), nullable=False),
        Column("events", TEXT, nullable=False),
        Column("state", TEXT, nullable=False),
        Column("reason", TEXT, nullable=True),
        Column("secrets", TEXT, nullable=False),
        Column("since", BigInteger(), nullable=False),
        Column("created_at", BigInteger(), nullable=False),
        Column("created_by", TEXT, nullable=False),
        Column("updated_at", BigInteger(), nullable=False),
        Column("version", BigInteger(), nullable=False),
        Column("mac", Blob(), nullable=False),
        CheckConstraint("kind IN ('webhook', 'email')", name=op.f("ck_channels_kind")),
        CheckConstraint(
            "state IN ('active', 'paused', 'disabled', 'deleted')",
            name=op.f("ck_channels_state"),
        ),
        PrimaryKeyConstraint("id", name=op.f("pk_channels")),
    )
    op.create_index("ix_channels_workspace_id_id", "channels", ["workspace_id", "id"])


def _make_messages() -> None:
    op.create_table(
        "messages",
        Column("id", TEXT, nullable=False),
        Column("channel_id", TEXT, nullable=False),
        Column("workspace_id", TEXT, nullable=False),
        Column("number", BigInteger(), nullable=False),
        Column("event", TEXT, nullable=False),
        Column("subject", TEXT, nullable=False),
        Column("body", TEXT, nullable=False),
        Column("recipients", TEXT, nullable=False),
        Column("created_at", BigInteger(), nullable=False),
        Column("mac", Blob(), nullable=False),
        Column("state", TEXT, nullable=False),
        Column("tries", BigInteger(), nullable=False),
        Column("due_at", BigInteger(), nullable=False),
        Column("hurries", BigInteger(), nullable=False),
        Column("ended_at", BigInteger(), nullable=True),
        Column("reason", TEXT, nullable=True),
        Column("reached", TEXT, nullable=False),
        Column("attempts", TEXT, nullable=False),
        CheckConstraint("state IN ('waiting', 'sent', 'dead')", name=op.f("ck_messages_state")),
        PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("ix_messages_workspace_id_id", "messages", ["workspace_id", "id"])
    op.create_index("ix_messages_channel_id_id", "messages", ["channel_id", "id"])
    op.create_index("ix_messages_state_ended_at", "messages", ["state", "ended_at"])
    op.create_index(
        "ix_messages_channel_id_ended_at", "messages", ["channel_id", "state", "ended_at"]
    )
    order = ["channel_id", "subject", "number"]
    _partial_index("ix_messages_waiting", "messages", order, WAITING)


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(
        name,
        table,
        columns,
        sqlite_where=text(where),
        postgresql_where=text(where),
    )
