"""How a command ends: its exit code, one sentence, and the way out.

| code | meaning |
| --- | --- |
| 0 | done |
| 1 | it could not be done, or a drill failed; the sentence says why and what helps |
| 2 | it was asked for wrongly: arguments, settings, values that were refused |
| 3 | the answer is no: `verify`, drift, `keys impact`, `posture --fail-on`, a rotation given up |
| 4 | the token is missing or not valid, or it may not do this |
| 5 | there is no such thing |
| 6 | the thing has changed meanwhile, or its state does not allow it |
| 7 | no answer from Keyturn, or not now; the same command may be repeated |
| 130 | interrupted |

`keyturn run` ends as the command that it runs does; with 126 where that cannot be run, 127 where
there is none, and 128 and the number of the signal that killed it.
"""

from dataclasses import dataclass

import click

from keyturn.client.errors import (
    ApiError,
    ConfigurationFault,
    Conflict,
    Forbidden,
    Invalid,
    KeyturnClientError,
    NotFound,
    NotUnderstood,
    SourceFault,
    TokenDelivered,
    TokenLost,
    Unauthenticated,
    Unavailable,
    Unreachable,
    VersionMoved,
)
from keyturn.domain.text import without_controls

DONE = 0
FAULT = 1
WRONG = 2
NO = 3
REFUSED = 4
ABSENT = 5
MOVED = 6
LATER = 7
INTERRUPTED = 130

_LONGEST_LINE = 2_000
_FAULT_OF_A_SERVER = 500
_TOO_MANY = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is told, and the exit code. `remedy` is the next step, empty where none is known."""

    detail: str
    remedy: str = ""
    code: int = FAULT


class CommandFailed(click.ClickException):
    """A command that ends with a sentence, a way out and an exit code."""

    def __init__(self, detail: str, *, remedy: str = "", code: int = FAULT) -> None:
        super().__init__(detail)
        self.ending = Ending(detail=detail, remedy=remedy, code=code)


TOKEN_SET = "Set KEYTURN_API_KEY_FILE, or --api-key-file, to a file that holds one; `keyturn dev` \
and `keyturn init` write the first operator's to .keyturn/operator.token."

_SETTINGS = "Look at --url, --api-key-file and --workspace, or KEYTURN_URL, KEYTURN_API_KEY_FILE, \
KEYTURN_API_KEY and KEYTURN_WORKSPACE."

_BY_CODE = {
    "workspace.required": "Name one with --workspace; `keyturn workspaces list` shows them.",
    "workspace.denied": "Leave --workspace and KEYTURN_WORKSPACE out, or present an operator's "
    "token.",
    "credential.missing": TOKEN_SET,
    "credential.invalid": "It is mistyped, revoked, expired, or of another installation; look at "
    "KEYTURN_API_KEY_FILE and KEYTURN_URL.",
    "network.denied": "Call from one of the key's networks, or change its `allowed_cidrs`.",
    "grant.exceeded": "Grant less, or present an administrator's token.",
    "permission.missing": "Present a token that has it; `keyturn self` shows what yours may do.",
    "key.unknown": "`keyturn keys list --status all` shows those that there are.",
    "key.contained": "`keyturn incidents list --key` shows by which; only a false alarm gives it "
    "back, and `keyturn incidents replace` a new one.",
    "slot.unknown": "`keyturn slots list` shows those that there are.",
    "workspace.unknown": "`keyturn workspaces list` shows those that there are.",
    "key.terminal": "Make a new one with `keyturn keys create`.",
    "rotation.unknown": "`keyturn rotations list` shows those that there are.",
    "rotation.open": "`keyturn rotations watch` shows it; complete it or roll it back first.",
    "rotation.wider": "Leave out what is wider; widen the new key afterwards with `keyturn keys "
    "update`.",
    "rotation.closed": "`keyturn rotations show` tells how it ended; `keyturn rotations start` "
    "begins another.",
    "rotation.not_checked_in": "Let it ask GET /v1/self with the new key (`keyturn self`), or "
    "--standing waived.",
    "incident.unknown": "`keyturn incidents list --state all` shows those that there are.",
    "incident.no_key": "`keyturn keys list --status all` shows those that there are.",
    "incident.closed": "`keyturn incidents report` tells of it; `keyturn contain -` opens another.",
    "destination.unknown": "`keyturn destinations list` shows those that there are.",
    "destination.exists": "`keyturn destinations update` changes it.",
    "destination.unproven": "`keyturn destinations prove` tells what is wrong; --no-delivery or "
    "another --deliver-to goes around it.",
    "destination.in_use": "`keyturn slots list` and `keyturn deliveries list --state open` show by "
    "what.",
    "delivery.unknown": "`keyturn deliveries list` shows those that there are.",
    "delivery.closed": "`keyturn deliveries show` tells what has become of it.",
    "delivery.last": "`keyturn rotations rollback` takes its rotation back; `keyturn keys revoke` "
    "ends a key that is in none.",
    "reveal.refused": "Name a destination with --deliver-to, or give the slot one: `keyturn slots "
    "set SLOT --destination NAME`.",
    "posture.waiver_unknown": "`keyturn posture waivers` shows those that there are.",
    "finding.unknown": "`keyturn findings list --state all` shows those that there are.",
    "idempotency.mismatch": "Use another --idempotency-key.",
    "integrity.failed": "Run `keyturn activity verify` on the installation.",
    "storage.unavailable": "Repeat it; if it stays so, run `keyturn doctor` on the installation.",
    "internal.error": "Its request id finds the cause in the server's log.",
}
_BY_KIND: tuple[tuple[type[ApiError], int, str], ...] = (
    (Unauthenticated, REFUSED, TOKEN_SET),
    (Forbidden, REFUSED, ""),
    (NotFound, ABSENT, ""),
    (VersionMoved, MOVED, "Read it again, and repeat."),
    (Conflict, MOVED, ""),
    (Invalid, WRONG, ""),
    (Unavailable, LATER, "Repeat it in a while."),
)


def ending_of(error: KeyturnClientError) -> Ending:
    """How a command ends that met this error of the client."""
    match error:
        case ConfigurationFault():
            return Ending(detail=str(error), remedy=_SETTINGS, code=WRONG)
        case SourceFault():
            return Ending(detail=str(error), remedy="Look at the place, and repeat.", code=LATER)
        case Unreachable():
            return Ending(detail=str(error), remedy=_unreached(error), code=LATER)
        case ApiError():
            return _of_api(error)
        case NotUnderstood():
            return Ending(detail=str(error), remedy="Check the address in KEYTURN_URL or --url.")
        case TokenDelivered():
            look = f"`keyturn deliveries list --key {error.key_id}`"
            return Ending(detail=str(error), remedy=f"{look} shows whether it has arrived.")
        case TokenLost(key_id=None, workspace_id=id_):
            make = f"`keyturn keys create admin --permission admin --workspace {id_}`"
            return Ending(detail=str(error), remedy=f"{make} makes it one.")
        case TokenLost(key_id=id_):
            return Ending(detail=str(error), remedy=f"`keyturn keys revoke {id_} --reason unused`.")
        case _:
            return Ending(detail=str(error))


def may_pass(error: KeyturnClientError) -> bool:
    """Whether a server that is asked again may answer: one that is away, or not ready yet."""
    match error:
        case Unreachable():
            return True
        case ApiError(status=status) | NotUnderstood(status=status):
            return status >= _FAULT_OF_A_SERVER or status == _TOO_MANY
        case _:
            return False


def _unreached(error: Unreachable) -> str:
    if error.was_sent and error.is_safe:
        return "Repeat it; if it stays so, look at the server's log."
    if error.was_sent:
        return (
            "It may have been carried out all the same: look with `keyturn activity list "
            f"--request-id {error.request_id}`."
        )
    return "Start it with `keyturn dev` or `keyturn serve`, or name its address with --url or \
KEYTURN_URL."


def _of_api(error: ApiError) -> Ending:
    other = WRONG if 400 <= error.status < 500 else FAULT
    code, remedy = next(
        ((code, remedy) for kind, code, remedy in _BY_KIND if isinstance(error, kind)), (other, "")
    )
    faults = [f"{_option(one.pointer)}: {one.detail}" for one in error.errors if one.pointer]
    return Ending(
        detail="\n  ".join(map(_line, faults)) if faults else _line(str(error)),
        remedy=_BY_CODE.get(error.code, remedy),
        code=code,
    )


def _line(text: str) -> str:
    """What the server wrote, as one line."""
    return without_controls(text, _LONGEST_LINE)


def _option(pointer: str) -> str:
    """Where a refused value stands, as people know it: the member's name and the place in it."""
    return pointer.lstrip("/").replace("/", " ")
