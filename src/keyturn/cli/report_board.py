"""A report on a terminal: what happened, who was not ours, and what cannot be told apart. Pure: no
I/O, and the time is an argument."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from keyturn.cli.naming import short
from keyturn.cli.output import Column, counted, span, spelled
from keyturn.cli.page import Command, Paragraph, Table, page_lines
from keyturn.client.incident_report import IncidentReport, ReportRuntime

_CALLERS = (
    Column("caller", wide=True),
    Column("is"),
    Column("from", wide=True),
    Column("allowed", right=True),
    Column("denied", right=True),
    Column("after", right=True, optional=True),
    Column("last seen"),
    Column("unlike", wide=True, optional=True),
)
_PATHS = (
    Column("called", wide=True),
    Column("allowed", right=True),
    Column("denied", right=True),
    Column("last seen"),
)
_UNLIKE = (
    Column("unlike before", wide=True),
    Column("value", wide=True),
    Column("requests", right=True),
    Column("why", wide=True),
)
_REQUESTS = (
    Column("at (utc)"),
    Column("verdict"),
    Column("runtime", wide=True),
    Column("ip", optional=True),
    Column("call", wide=True),
    Column("request", wide=True),
)
_EVENTS = (Column("at (utc)"), Column("what"), Column("told", wide=True))
_ORDER = ("intruder", "suspect", "claimed", "ours")
_MOST = 20


def report_lines(report: IncidentReport, moment: datetime, width: int | None) -> list[str]:
    """All of it as lines; of long lists the first, with a word on where the rest is."""
    parts: list[Paragraph | Table] = [
        [_title(report), _totals(report), *_gaps(report)],
        *_cut(_callers(report.runtimes, moment), len(report.runtimes), "callers"),
        [report.indistinguishable.detail],
        *_cut(_unlike(report), len(report.unlike), "of what is unlike"),
        *_cut(_paths(report, moment), len(report.paths), "paths"),
        *_cut(_requests(report), report.requests_total, "requests of callers that are not ours"),
        *_cut(_events(report), len(report.timeline), "events"),
        [_elsewhere(report)],
    ]
    return page_lines([*parts, *_next(report)], width)


def _title(report: IncidentReport) -> str:
    incident = report.incident
    return (
        f"Incident {short(incident.id)}, {incident.state}: {incident.reason}, exposed from "
        f"{spelled(report.window.since)} to {spelled(report.window.until)} (UTC)."
    )


def _totals(report: IncidentReport) -> str:
    totals = report.totals
    return (
        f"{counted(totals.allowed, 'request')} let in, {totals.denied:,} denied, "
        f"{totals.after_containment:,} of all after containment; {report.requests_total:,} by "
        "callers that are not ours."
    )


def _gaps(report: IncidentReport) -> Iterator[str]:
    for gap in report.gaps:
        yield f"Not known: {gap}"


def _elsewhere(report: IncidentReport) -> str:
    return (
        f"`keyturn incidents report {short(report.incident.id)} --format html -o report.html` has "
        "all of it to hand on, `--format csv` the requests of callers that are not ours."
    )


def _next(report: IncidentReport) -> Iterator[Paragraph]:
    if report.incident.is_open:
        show = Command(f"keyturn incidents show {short(report.incident.id)}")
        yield [f"Next: {report.incident.next_step}", show]


def _cut(table: Table, total: int, noun: str) -> Iterator[Paragraph | Table]:
    yield table
    more = total - len(table.rows)
    if table.rows and more > 0:
        yield [f"… and {more:,} more {noun}."]


def _callers(found: Sequence[ReportRuntime], moment: datetime) -> Table:
    ordered = sorted(
        found,
        key=lambda one: (
            _ORDER.index(one.standing) if one.standing in _ORDER else len(_ORDER),
            -(one.allowed + one.denied),
            one.runtime,
        ),
    )
    rows = [
        (
            *(one.runtime, one.standing, one.network, one.allowed, one.denied),
            *(one.after_containment, _ago(one.last_seen_at, moment), one.unlike),
        )
        for one in ordered[:_MOST]
    ]
    return Table(columns=_CALLERS, rows=rows)


def _unlike(report: IncidentReport) -> Table:
    rows = [
        (one.what.replace("_", " "), one.value, one.requests, one.reason)
        for one in report.unlike[:_MOST]
    ]
    return Table(columns=_UNLIKE, rows=rows)


def _paths(report: IncidentReport, moment: datetime) -> Table:
    rows = [
        (one.path, one.allowed, one.denied, _ago(one.last_seen_at, moment))
        for one in report.paths[:_MOST]
    ]
    return Table(columns=_PATHS, rows=rows)


def _requests(report: IncidentReport) -> Table:
    rows = [
        (
            *(one.at, one.code, one.runtime, one.ip),
            " ".join(filter(None, (one.method, one.path))),
            one.request_id,
        )
        for one in report.requests[:_MOST]
    ]
    return Table(columns=_REQUESTS, rows=rows)


def _events(report: IncidentReport) -> Table:
    """The last of them."""
    return Table(
        columns=_EVENTS, rows=[(one.at, one.what, one.detail) for one in report.timeline[-_MOST:]]
    )


def _ago(at: datetime, moment: datetime) -> str:
    return f"{span((moment - at).total_seconds())} ago"
