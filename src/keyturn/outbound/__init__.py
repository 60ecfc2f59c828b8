"""What leaves Keyturn on its own account: calls to secrets managers and webhooks, and mail."""
