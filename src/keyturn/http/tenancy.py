"""`Keyturn-Workspace`: the workspace that a call names."""

from collections.abc import Iterable
from uuid import UUID

from keyturn.domain.error import RequestInvalid
from keyturn.domain.identity import parse_id
from keyturn.services.identify import Caller
from keyturn.services.locate import require_own


def named_workspace(headers: Iterable[tuple[bytes, bytes]], caller: Caller) -> UUID | None:
    """The workspace that the header names, None where there is none.

    Raises `WorkspaceDenied` where a key names another than its own, whatever stands there, and
    `RequestInvalid` where an operator names none that could be, or two.
    """
    texts = {value.decode("latin-1").strip() for name, value in headers if name == _HEADER}
    if not texts:
        return None
    ids = {parse_id(text) for text in texts}
    named = next(iter(ids))
    require_own(caller, named if len(ids) == 1 else None, is_named=True)
    if named is None or len(ids) > 1:
        raise RequestInvalid.at("/Keyturn-Workspace", "This is the id of one workspace.")
    return named


_HEADER = b"keyturn-workspace"
