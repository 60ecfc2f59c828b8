"""How Alembic runs our migrations: on the connection that `keyturn.storage.migrate` gives it."""

from alembic import context

from keyturn.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
