"""Containing what was found, in whatever workspaces it is, and telling what came of it.

1. Containment comes first: whatever fails after it, what was contained is told.
2. A text with whole tokens alone goes as tokens, so that a made-up one with a real id contains
   nothing. What is named by a hint or an id goes by its id, and no token is sent at all.
3. What names no key in the first workspace is tried in the others, also where the environment
   names one: an operator need not know.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import click

from keyturn.cli.connection import client_in, workspace_of_environment
from keyturn.cli.consent import require_consent
from keyturn.cli.ending import ABSENT, INTERRUPTED, WRONG, CommandFailed
from keyturn.cli.exposed import Exposed, find_exposed
from keyturn.cli.incident_terms import Terms, members_of, tell_contained, tell_what_is_left
from keyturn.cli.naming import named_key, spelled_id
from keyturn.cli.output import Output, counted
from keyturn.client.configuration import WORKSPACE
from keyturn.client.errors import ApiError
from keyturn.client.incident_records import OpenedIncident
from keyturn.domain.token import Token

if TYPE_CHECKING:
    from keyturn.client import Keyturn

_NO_KEY = "incident.no_key"
_MOST_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Contained:
    """The incidents that contain what was found, one in each workspace; and what names no key."""

    opened: Sequence[OpenedIncident]
    unmatched: Sequence[Exposed]


def contain_exposed(
    client: "Keyturn", found: Sequence[Exposed], terms: Terms, idempotency_key: str | None = None
) -> Contained:
    """Contains the keys that a text exposes. Raises `CommandFailed` where it names none."""
    found = list({one.id: one for one in found}.values())
    if not found:
        raise CommandFailed(
            "No token, hint or id stands there; nothing was contained.",
            remedy="Give the token itself, or the key's id or hint (`keyturn keys list` shows "
            "them), on standard input; text around it does no harm.",
            code=WRONG,
        )
    operators = [one for one in found if one.is_operators]
    keys = [one for one in found if not one.is_operators]
    contained = Contained(opened=(), unmatched=())
    if keys:
        contained = _contain(client, keys, terms, idempotency_key)
    return Contained(opened=contained.opened, unmatched=[*contained.unmatched, *operators])


def exposed_by(client: "Keyturn", name: str, yes: bool) -> list[Exposed]:
    """The keys that an argument names: by an id or a hint; or by a slot or a name, which may mean
    another key than its sayer thinks, so that it is asked for."""
    found = find_exposed(name)
    if found:
        return found
    key = named_key(client, name)
    if not yes:
        require_consent(f"Contain {key.name} ({key.hint}…)? It ends at once.")
    return [Exposed(id=UUID(key.id), label=f"{key.hint}…")]


def tell_opened(output: Output, contained: Contained) -> None:
    """Tells all of it, for a command that does no more. Ends it with 5 where something names no
    key."""
    for at, opened in enumerate(contained.opened):
        if output.as_json:
            output.json(members_of(opened))
        elif output.is_quiet:
            output.say(opened.id)
        else:
            if at:
                click.echo()
            tell_contained(opened)
            tell_where(output, opened)
            click.echo()
            with client_in(opened.workspace_id) as inside:
                tell_what_is_left(inside, opened)
    refuse_unmatched(contained)


def tell_where(output: Output, opened: OpenedIncident) -> None:
    """Names the workspace of an incident that is in another one than the environment says."""
    held = workspace_of_environment()
    if held and (spelled_id(held) or held) != opened.workspace_id:
        output.note(
            f"It is in another workspace than {WORKSPACE} names: give `--workspace "
            f"{opened.workspace_id}` with what follows."
        )


def refuse_unmatched(contained: Contained) -> None:
    """Raises `CommandFailed` where something that was given names no key."""
    if not contained.unmatched:
        return
    operators = [one.label for one in contained.unmatched if one.is_operators]
    tokens = [one.label for one in contained.unmatched if one.token and not one.is_operators]
    others = [one.label for one in contained.unmatched if not (one.token or one.is_operators)]
    told, ways = [], []
    if operators:
        told.append(f"{_listed(operators)}: an operator's or a gateway's, which no incident holds")
        ways.append("On the installation: `keyturn operators list`, `keyturn operators revoke`.")
    if tokens:
        told.append(f"{_listed(tokens)}: no token of a key here")
        ways.append(
            "It is of another installation, of a key that you may not reach, or made up. To end "
            f"the key that it names all the same: `echo {tokens[0].rstrip('…')} | keyturn contain "
            "-`."
        )
    if others:
        told.append(f"{_listed(others)}: no key here")
        ways.append("`keyturn keys list --status all` shows those that you may reach.")
    done = "The rest is contained." if contained.opened else "Nothing was contained."
    raise CommandFailed("; ".join(told) + f". {done}", remedy="\n  ".join(ways), code=ABSENT)


def _contain(
    client: "Keyturn", keys: Sequence[Exposed], terms: Terms, idempotency_key: str | None
) -> Contained:
    opened: list[OpenedIncident] = []
    left = list(keys)
    try:
        left = _contain_each(client, left, terms, idempotency_key, opened)
        if left and workspace_of_environment():
            with client_in("") as anywhere:
                left = _contain_each(anywhere, left, terms, None, opened)
    except KeyboardInterrupt as error:
        raise CommandFailed(
            "Interrupted while it was being contained: it may be, or not.",
            remedy="Say it once more: what is contained already stays so. `keyturn incidents list` "
            "shows it.",
            code=INTERRUPTED,
        ) from error
    return Contained(opened=opened, unmatched=left)


def _contain_each(
    client: "Keyturn",
    left: list[Exposed],
    terms: Terms,
    idempotency_key: str | None,
    opened: list[OpenedIncident],
) -> list[Exposed]:
    """Opens an incident in each workspace that has any of them; says which are in none."""
    while left:
        answered = _open(client, left, terms, None if opened else idempotency_key)
        if answered is None:
            break
        opened.append(answered)
        left = [left[at] for at in answered.unmatched if at < len(left)]
    return left


def _open(
    client: "Keyturn", keys: Sequence[Exposed], terms: Terms, idempotency_key: str | None
) -> OpenedIncident | None:
    """None where none of them is a key."""
    tokens: list[str | Token] = [one.token for one in keys if one.token is not None]
    is_whole = len(tokens) == len(keys)
    try:
        return client.incidents.open(
            tokens=tokens if is_whole else None,
            key_ids=None if is_whole else [str(one.id) for one in keys],
            reason=terms.reason,
            detail=terms.detail,
            found_url=terms.found_url,
            exposed_since=terms.exposed_since,
            containment=terms.containment,
            idempotency_key=idempotency_key,
        )
    except ApiError as error:
        if error.code != _NO_KEY:
            raise
        return None


def _listed(labels: Sequence[str]) -> str:
    more = len(labels) - _MOST_NAMED
    told = ", ".join(labels[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")
    return told if len(labels) == 1 else f"{counted(len(labels), 'string')} ({told})"
