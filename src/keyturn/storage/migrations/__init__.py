"""The migrations: one file a revision, applied in one transaction."""
