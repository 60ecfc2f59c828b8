"""Why the database cannot be used, in words that help: what it said of itself, and the way out.

Only what follows PostgreSQL's own FATAL is repeated: the rest of a driver's text may hold parts of
the address, and so of the password.
"""

import re

from keyturn.domain.error import InstallationFault
from keyturn.domain.redaction import redact
from keyturn.domain.text import without_controls
from keyturn.server.settings import Settings

_LONGEST = 300
_FATAL = re.compile(r"FATAL:\s+(.+)")
_SPOT = "Check that this user may write the file and its folder, that there is room on the disk, \
and that it is not read-only."

_SQLITE = (
    (
        re.compile("not a database|malformed"),
        "Name another file in KEYTURN_DATABASE_URL, or restore a backup.",
    ),
    (re.compile("locked"), "Another program holds it; end that, and repeat."),
    (re.compile("unable to open|readonly|full|disk I/O"), _SPOT),
)
_POSTGRESQL = (
    (
        re.compile("authentication|password|pg_hba|role"),
        "Check the user and the password in KEYTURN_DATABASE_URL.",
    ),
    (
        re.compile("database .* does not exist"),
        "Make it with `createdb`, or name another one in KEYTURN_DATABASE_URL.",
    ),
    (re.compile("too many|remaining connection"), "Raise `max_connections` there, and repeat."),
    (re.compile("starting up|shutting down|recovery"), "Wait until it has started, and repeat."),
)
_REACH = "Check the host and the port in KEYTURN_DATABASE_URL, and that the server runs."


def database_fault(settings: Settings, error: BaseException) -> InstallationFault:
    """The fault that tells a person why the database that the settings name gave `error`."""
    said = _said(error)
    path = settings.sqlite_path
    if path is not None:
        return InstallationFault(
            f"The file {path} cannot be used as a database ({said})."
            if said
            else f"The file {path} cannot be used as a database.",
            remedy=_remedy(_SQLITE, said, _SPOT),
        )
    fatal = _FATAL.search(said)
    if fatal is None:
        return InstallationFault("The database cannot be reached.", remedy=_REACH)
    refusal = fatal[1].strip().rstrip(".")
    return InstallationFault(
        f"PostgreSQL refused the connection ({refusal}).",
        remedy=_remedy(_POSTGRESQL, refusal, "See the log of the PostgreSQL server."),
    )


def _said(error: BaseException) -> str:
    """The first line of the innermost cause, fit to be shown."""
    while True:
        inner = getattr(error, "orig", None) or error.__cause__
        if not isinstance(inner, BaseException):
            break
        error = inner
    text = str(error)
    fatal = _FATAL.search(text)
    line = text.partition("\n")[0] if fatal is None else fatal[0]
    return without_controls(redact(line), _LONGEST)


def _remedy(known: tuple[tuple[re.Pattern[str], str], ...], said: str, otherwise: str) -> str:
    return next((remedy for pattern, remedy in known if pattern.search(said)), otherwise)
