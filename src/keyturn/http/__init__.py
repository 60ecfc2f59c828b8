"""The HTTP API: one module a resource. It speaks the protocol and decides nothing."""
