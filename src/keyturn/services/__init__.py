"""The verbs of Keyturn, one module a use case; the only ring that opens transactions."""
