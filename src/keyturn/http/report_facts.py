"""What a report says to people, in the order in which it matters; the texts are made from this."""

from collections.abc import Sequence
from dataclasses import dataclass

from keyturn.domain.blast_radius import (
    NOT_OURS,
    CallerEntry,
    Oddity,
    Unlike,
    tell_indistinguishable,
)
from keyturn.domain.incident import CallerStanding, Containment, IncidentState
from keyturn.domain.instant import format_instant
from keyturn.domain.traffic import Facet
from keyturn.services.report import Report

MOST_ROWS = 100
MOST_NAMES = 5
MOST_AT_ONCE = 10
MOST_ALIKE = 8
MOST_VALUES = 25

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A heading, what it is about, the heads of its columns, and as many rows as are shown."""

    title: str
    about: str
    heads: Row
    rows: Sequence[Row]
    total: int
    empty: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The first screen, and the tables behind it."""

    title: str
    state: str
    happened: str
    contained: str
    left: str
    next_step: str
    strangers: Table
    gaps: Sequence[str]
    blind_spot: str
    figures: Sequence[tuple[str, str]]
    tables: Sequence[Table]
    ended: str


def facts_of(report: Report) -> Facts:
    incident, radius = report.incident, report.radius
    names = sorted(report.names.values())
    some = ", ".join(names[:MOST_NAMES])
    if len(names) > MOST_NAMES:
        some += f" and {len(names) - MOST_NAMES} more"
    return Facts(
        title=f"Incident: {some}",
        state=incident.state.value,
        happened=_happened(report),
        contained=_contained(report),
        left=_left(report),
        next_step=report.judged.next_step(report.made_at),
        strangers=_callers(
            "Who is not ours",
            "The worst first; and who says that it is ours, and is where that never was.",
            [one for one in radius.runtimes if one.standing in NOT_OURS or one.unlike],
            "Every caller was ours, and where it always is.",
            MOST_AT_ONCE,
        ),
        gaps=report.gaps,
        blind_spot=tell_indistinguishable(radius.indistinguishable),
        figures=(
            ("requests allowed", f"{radius.totals.allowed:,}"),
            ("requests denied", f"{radius.totals.denied:,}"),
            ("after the containment", f"{radius.totals.after_containment:,}"),
            ("by callers not ours", f"{report.requests_total:,}"),
        ),
        tables=_tables(report),
        ended=f"Incident {incident.id}, as of {when(report.made_at)}.",
    )


def when(at: int) -> str:
    """A time for people, to the second, in UTC."""
    return format_instant(at)[:19].replace("T", " ") + " UTC"


def _happened(report: Report) -> str:
    incident = report.incident
    keys = len(report.judged.keys)
    what = "1 key" if keys == 1 else f"{keys} keys"
    verb = "was" if keys == 1 else "were"
    reason = {
        "leaked": f"{what} {verb} leaked",
        "suspected": f"{what} {verb} suspected to be exposed",
        "staff_change": f"{what} {verb} in the hands of somebody who left",
    }.get(incident.reason.value, f"{what} {verb} exposed")
    found = f" Found at {incident.found_url}" if incident.found_url else ""
    detail = f" {incident.detail}" if incident.detail else ""
    return (
        f"{reason}, exposed since {when(report.since)}. {incident.opened_by} opened the incident "
        f"at {when(incident.opened_at)}.{detail}{found}"
    )


def _contained(report: Report) -> str:
    incident, after = report.incident, report.radius.totals.after_containment
    verb = "revoked" if incident.containment is Containment.REVOKE else "suspended"
    tried = "nobody has tried since" if not after else f"tried {after:,} times since"
    which = "The key was" if len(report.judged.keys) == 1 else "All keys were"
    return f"{which} {verb} at {when(incident.contained_at)}; {tried}."


def _left(report: Report) -> str:
    now = report.made_at
    if report.incident.state is IncidentState.CLOSED:
        return "Nothing: it is closed."
    keys = report.judged.keys
    unreplaced = sum(
        one.contained.replacement_key_id is None and not one.contained.is_settled(now)
        for one in keys
    )
    unsettled = sum(not one.contained.is_settled(now) for one in keys)
    unplaced = sum(one.standing is CallerStanding.CLAIMED for one in report.radius.runtimes)
    parts = [
        _waiting(unreplaced, len(keys)),
        f"{unsettled - unreplaced} replaced and not recovered" if unsettled > unreplaced else "",
        "" if not unplaced else f"{unplaced} caller{'s' * (unplaced > 1)} to be placed",
    ]
    told = ", ".join(part for part in parts if part)
    return f"{told[0].upper()}{told[1:]}." if told else "To close it."


def _waiting(unreplaced: int, total: int) -> str:
    if not unreplaced:
        return ""
    return "a replacement" if total == 1 else f"{unreplaced} of {total} keys to be replaced"


def _callers(
    title: str, about: str, found: Sequence[CallerEntry], empty: str, most: int = MOST_ROWS
) -> Table:
    return Table(
        title=title,
        about=about,
        heads=("who", "where", "standing", "unlike", "allowed", "denied", "after", "first", "last"),
        rows=[
            (
                one.caller.runtime,
                one.caller.network or "unknown",
                one.standing.value,
                ", ".join(one.unlike) or "–",
                f"{one.count.allowed:,}",
                f"{one.count.denied:,}",
                f"{one.count.after_containment:,}",
                when(one.first_at),
                when(one.last_at),
            )
            for one in found[:most]
        ],
        total=len(found),
        empty=empty,
    )


def _tables(report: Report) -> Sequence[Table]:
    radius, names = report.radius, report.names
    compared = "Against the life of the key before the window, or before the first stranger."
    if not radius.compared:
        compared = "There is no life of the key before to compare with."
    countries = "" if report.knows_countries else " No countries: the extra geo is not installed."
    return (
        Table(
            title="Unlike its usual life",
            about=compared + countries,
            heads=("what", "value", "requests", "first", "last", "why"),
            rows=[
                (
                    one.what.value,
                    one.value,
                    f"{one.requests:,}",
                    when(one.first_at),
                    when(one.last_at),
                    one.reason,
                )
                for one in _some(radius.unlike)
            ],
            total=len(radius.unlike),
            empty="Nothing was.",
        ),
        _callers("All callers", "In the window and since.", radius.runtimes, "Nobody called."),
        Table(
            title="Attempts after the containment",
            about="What was let in came before the containment's answer, or after a key was given "
            "back.",
            heads=("who", "where", "standing", "allowed", "denied", "first", "last"),
            rows=[
                (
                    one.caller.runtime,
                    one.caller.network or "unknown",
                    one.standing.value,
                    f"{one.allowed:,}",
                    f"{one.denied:,}",
                    when(one.first_at),
                    when(one.last_at),
                )
                for one in radius.attempts_after[:MOST_ROWS]
            ],
            total=len(radius.attempts_after),
            empty="There were none.",
        ),
        *(
            _values(report, title, facet)
            for title, facet in (
                ("What was called", Facet.PATH),
                ("Scopes", Facet.SCOPE),
                ("User agents", Facet.AGENT),
                ("Countries", Facet.COUNTRY),
                ("Environments", Facet.ENVIRONMENT),
                ("Browsers", Facet.BROWSER),
            )
        ),
        Table(
            title="Keys",
            about="What has become of each.",
            heads=("key", "slot", "status", "replacement", "recovered"),
            rows=[
                (
                    f"{one.contained.name} ({one.contained.key_id})",
                    str(one.contained.slot),
                    one.status(report.made_at).value,
                    str(one.contained.replacement_key_id or "–"),
                    _told(one.contained.recovered_at),
                )
                for one in report.judged.keys[:MOST_ROWS]
            ],
            total=len(report.judged.keys),
            empty="There are none.",
        ),
        Table(
            title="Timeline",
            about="Everything in one order.",
            heads=("at", "what", "told", "request"),
            rows=[
                (when(one.at), one.what, one.detail, one.request_id or "")
                for one in report.timeline[-MOST_ROWS:]
            ],
            total=len(report.timeline),
            empty="Nothing happened.",
        ),
        Table(
            title="Requests by callers that are not ours",
            about="The newest; the whole list is the CSV.",
            heads=("at", "key", "verdict", "who", "where", "call", "user agent", "request"),
            rows=[
                (
                    when(one.at),
                    next((name for id_, name in names.items() if str(id_) == one.key_id), ""),
                    one.code,
                    one.runtime,
                    one.network or "unknown",
                    " ".join(part for part in (one.method, one.path) if part),
                    one.user_agent or "",
                    one.request_id,
                )
                for one in report.requests[:MOST_ROWS]
            ],
            total=report.requests_total,
            empty="There are none.",
        ),
    )


def _some(found: Sequence[Unlike]) -> list[Unlike]:
    """A few of each sort: who tries a thousand paths hides nothing else."""
    counts: dict[Oddity, int] = {}
    kept = []
    for one in found:
        counts[one.what] = counts.get(one.what, 0) + 1
        if counts[one.what] <= MOST_ALIKE:
            kept.append(one)
    return kept


def _told(at: int | None) -> str:
    return "no" if at is None else when(at)


def _values(report: Report, title: str, facet: Facet) -> Table:
    found = report.radius.values[facet]
    return Table(
        title=title,
        about="In the window and since.",
        heads=("value", "allowed", "denied", "after", "first", "last"),
        rows=[
            (
                one.value,
                f"{one.count.allowed:,}",
                f"{one.count.denied:,}",
                f"{one.count.after_containment:,}",
                when(one.first_at),
                when(one.last_at),
            )
            for one in found[:MOST_VALUES]
        ],
        total=len(found),
        empty="None was recorded.",
    )
