"""Where a program takes its token from: one module a kind of place, each behind `contract`.

Here the machine's own credentials are right: it is the caller's machine. What delivers tokens has
credentials of its own, and is in `keyturn.destinations`.
"""
