"""What an incident looks like at a moment: where it stands, the one next step, its keys, and who
used them.

Pure: no I/O, and the time is an argument.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from keyturn.cli.naming import short
from keyturn.cli.output import Column, counted, span, spelled
from keyturn.cli.page import Command, Paragraph, Table, page_lines
from keyturn.client.incident_records import Incident, IncidentKey, IncidentRuntime, UnreachedKey

KEYS = (
    Column("key", wide=True),
    Column("is"),
    Column("id"),
    Column("replacement", optional=True),
    Column("why", optional=True),
)
CALLERS = (
    Column("caller", wide=True),
    Column("is"),
    Column("from", optional=True),
    Column("old key used"),
    Column("new key used"),
    Column("waits for", wide=True),
)
_OF_KEY = Column("key", wide=True)
_KEY_ORDER = ("contained", "active", "replaced", "waived", "recovered")
_CALLER_ORDER = ("claimed", "waits", "intruder", "suspect", "recovered", "waived", "ours")
_MOST_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A caller of a key. `reason` is what it waits for."""

    key: IncidentKey
    caller: IncidentRuntime
    status: str
    reason: str

    @property
    def name(self) -> str:
        return caller_named(self.caller.runtime, self.caller.network)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """Everything that is shown of an incident. `command` is empty where nothing is to be done."""

    title: str
    step: str
    command: str
    facts: tuple[str, ...]
    keys: tuple[tuple[IncidentKey, str], ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    moment: datetime


def board_of(incident: Incident, moment: datetime) -> Board:
    """The incident as it stands at this moment."""
    keys = sorted(
        ((one, status_of(one, moment)) for one in incident.keys),
        key=lambda pair: (_KEY_ORDER.index(pair[1]), pair[0].name, pair[0].key_id),
    )
    rows = sorted(
        (_row(key, one, status) for key, status in keys for one in key.runtimes),
        key=lambda row: (_CALLER_ORDER.index(row.status), row.name, row.key.name),
    )
    return Board(
        title=title_of(incident, moment),
        step=step_of(incident),
        command=command_of(incident, moment),
        facts=tuple(_facts(incident, moment)),
        keys=tuple(keys),
        rows=tuple(rows),
        notes=tuple(_notes(incident, rows, moment)),
        moment=moment,
    )


def board_lines(board: Board, width: int | None, most_lines: int | None = None) -> list[str]:
    """The whole board as lines, with at most so many of them where its tables can be shortened."""
    return page_lines(
        [*head_of(board), board.facts, *tables_of(board), board.notes], width, most_lines
    )


def head_of(board: Board) -> list[Paragraph]:
    """Where it stands, and before all else what is to be done."""
    step = [board.step] if board.step else []
    command = [Command(board.command)] if board.command else []
    return [(board.title,), (*step, *command)]


def tables_of(board: Board) -> list[Table]:
    """The keys, and who used them."""
    has_many = len(board.keys) > 1
    columns = (CALLERS[0], CALLERS[1], _OF_KEY, *CALLERS[2:]) if has_many else CALLERS
    return [
        Table(columns=KEYS, rows=[_key_cells(key, status) for key, status in board.keys]),
        Table(columns=columns, rows=[_cells(row, board.moment, has_many) for row in board.rows]),
    ]


def changes(before: Incident | None, after: Incident, moment: datetime) -> Iterator[str]:
    """What is to be told of an incident that was looked at again, a line each."""
    old = None if before is None else board_of(before, moment)
    new = board_of(after, moment)
    if old is None or old.title != new.title:
        yield new.title
    keys = {key.key_id: status for key, status in old.keys} if old else {}
    for key, status in new.keys:
        if keys.get(key.key_id) != status:
            yield f"{key.name} ({short(key.key_id)}): {status}"
    known = (
        {(row.key.key_id, row.name): (row.status, row.reason) for row in old.rows} if old else {}
    )
    for row in new.rows:
        if known.get((row.key.key_id, row.name)) != (row.status, row.reason):
            of = f", with {row.key.name}" if len(new.keys) > 1 else ""
            yield f"{row.name}{of}: {row.status}" + (f", for {row.reason}" if row.reason else "")
    told = set(old.notes) if old else set()
    yield from (note for note in new.notes if note not in told)
    if new.step and (old is None or old.step != new.step):
        yield new.step
    if new.command and (old is None or old.command != new.command):
        yield f"  {new.command}"


def title_of(incident: Incident, moment: datetime) -> str:
    """Where it stands, in a line."""
    named = f"Incident {short(incident.id)}: {incident.state}"
    statuses = [status_of(one, moment) for one in incident.keys]
    recovered, waived = statuses.count("recovered"), statuses.count("waived")
    told = f"{named}, {recovered:,} of {counted(len(statuses), 'key')} recovered"
    return f"{told}, {waived:,} waived" if waived else told


def step_of(incident: Incident) -> str:
    """The one next step, as a sentence."""
    sentence = incident.next_step
    is_none = not sentence or sentence.startswith(("Wait", "Nothing"))
    return sentence if is_none else f"Next: {sentence}"


def status_of(key: IncidentKey, moment: datetime) -> str:
    """What has become of a key, in a word."""
    if key.recovered_at is not None:
        return "recovered"
    if key.is_settled(moment):
        return "waived"
    if key.replacement_key_id is not None:
        return "replaced"
    return "active" if key.status == "active" else "contained"


def command_of(incident: Incident, moment: datetime) -> str:
    """What a person may do next, as a command; empty where there is nothing."""
    name = short(incident.id)
    if not incident.is_open:
        return f"keyturn incidents report {name}"
    open_keys = [one for one in incident.keys if not one.is_settled(moment)]
    if not open_keys:
        return f"keyturn incidents close {name} --outcome confirmed"
    if any(one.needs_replacement and one.replacement_key_id is None for one in open_keys):
        return f"keyturn incidents replace {name}"
    callers = [(key, one) for key in open_keys for one in key.runtimes]
    for _, one in callers:
        if one.standing == "claimed":
            network = f" --network {shlex.quote(one.network)}" if one.network else ""
            place = f"keyturn incidents place {name} {shlex.quote(one.runtime)}"
            return f"{place}{network} --standing ours"
    for key, one in callers:
        if one.standing == "ours" and not one.recovered and one.denied_since:
            return f"keyturn requests list --key {short(key.replacement_key_id)} --denied"
    return f"keyturn incidents watch {name}"


def caller_named(runtime: str, network: str | None) -> str:
    """A caller by name and place."""
    return f"{runtime} from {network}" if network else runtime


def _row(key: IncidentKey, one: IncidentRuntime, status: str) -> Row:
    word, reason = _standing(key, one, status)
    return Row(key=key, caller=one, status=word, reason=reason)


def _standing(key: IncidentKey, one: IncidentRuntime, status: str) -> tuple[str, str]:
    """What a caller is in a word, and what it waits for."""
    if one.standing in ("suspect", "intruder"):
        return one.standing, ""
    if one.standing != "ours":
        return "claimed", "" if status == "waived" else "your word: ours, or an intruder?"
    if one.recovered:
        return "recovered", ""
    if status == "waived":
        return "waived", ""
    if status == "active":
        return "ours", ""
    if key.replacement_key_id is None:
        return "waits", "a new key"
    if one.denied_since:
        return "waits", "being let in with the new key: it was denied"
    return "waits", "its first use of the new key"


def _key_cells(key: IncidentKey, status: str) -> tuple[object, ...]:
    because = "made by one of them" if key.because == "made_by_contained" else None
    if key.waived is not None and status == "waived":
        because = f"{key.waived.reason}, until {spelled(key.waived.until)}"
    return (key.name, status, short(key.key_id), short(key.replacement_key_id), because)


def _cells(row: Row, moment: datetime, has_many: bool) -> tuple[object, ...]:
    one = row.caller
    used, new = _since(one.last_seen_at, moment), _since(one.new_last_seen_at, moment)
    key = (row.key.name,) if has_many else ()
    return (one.runtime, row.status, *key, one.network, used, new, row.reason)


def _facts(incident: Incident, moment: datetime) -> Iterator[str]:
    detail = f": {incident.detail}" if incident.detail else ""
    yield f"{incident.reason}{detail}"
    if incident.found_url:
        yield f"found at {incident.found_url}"
    yield f"opened {spelled(incident.opened_at)} (UTC) by {incident.opened_by}"
    yield ", ".join(_took(incident, moment))
    since = spelled(incident.exposed_since) if incident.exposed_since else None
    yield f"exposed since {since} (UTC)" if since else "exposed since each key was made"
    if incident.closed_at is not None:
        yield (
            f"closed {spelled(incident.closed_at)} (UTC) by {incident.closed_by}: "
            f"{incident.outcome}"
        )


def _took(incident: Incident, moment: datetime) -> Iterator[str]:
    """How long each step took, or is taking."""
    took = incident.seconds
    verb = "revoked" if incident.containment == "revoke" else "suspended"
    yield f"{verb} within {brief(took.contain or 0)}"
    if took.replace is not None:
        yield f"replaced after {brief(took.replace)}"
    if took.recover is not None:
        yield f"recovered after {brief(took.recover)}"
    elif incident.is_open:
        yield f"not recovered for {brief((moment - incident.opened_at).total_seconds())}"


def brief(seconds: float) -> str:
    """How long that took; what is less than a second in thousandths."""
    return f"{max(1, round(seconds * 1_000))} ms" if seconds < 1 else span(seconds)


def _notes(incident: Incident, rows: Sequence[Row], moment: datetime) -> Iterator[str]:
    claimed = [row for row in rows if row.status == "claimed" and row.reason]
    if claimed and incident.is_open:
        yield (
            f"Only their own word says who they are: {_named(claimed, moment)}. Say `ours` or "
            f"`intruder`, with `keyturn incidents place {short(incident.id)}`."
        )
    strangers = [row for row in rows if row.status in ("suspect", "intruder")]
    if strangers:
        yield f"Not ours: {_named(strangers, moment)}."
    if incident.unreached:
        names = ", ".join(_of_unreached(one) for one in incident.unreached[:_MOST_NAMED])
        more = len(incident.unreached) - _MOST_NAMED
        names += f" and {more:,} more" if more > 0 else ""
        yield (
            "Made by one of these keys before it was exposed, or changed by it meanwhile, or out "
            f"of your reach, and left alone: {names}. Look whether they are well."
        )
    is_told = incident.next_step.startswith("Wait")
    if incident.is_open and incident.counted_at is None and not is_told:
        yield "The last requests before the containment are being counted."


def _of_unreached(one: UnreachedKey) -> str:
    id_ = str(short(one.key_id))
    return f"{one.name} ({id_})" if one.name else id_


def _named(rows: Sequence[Row], moment: datetime) -> str:
    told = dict.fromkeys(
        f"{row.name} ({row.status}, {_since(row.caller.last_seen_at, moment)})" for row in rows
    )
    names = [*told][:_MOST_NAMED]
    more = len(told) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _since(at: datetime | None, moment: datetime) -> str:
    return "never" if at is None else f"{span((moment - at).total_seconds())} ago"
