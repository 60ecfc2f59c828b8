"""A report on a terminal. Pure: no I/O, and the time is an argument."""

from datetime import datetime

from keyturn.cli.output import Column, counted, span, spelled
from keyturn.cli.page import Table, page_lines
from keyturn.client.incident_report import IncidentReport

_CALLERS = (
    Column("caller", wide=True),
    Column("is"),
    Column("from", wide=True),
    Column("allowed", right=True),
    Column("denied", right=True),
    Column("first seen (utc)", optional=True),
    Column("last seen"),
)


def report_lines(report: IncidentReport, moment: datetime, width: int | None) -> list[str]:
    """All of it as lines."""
    callers = [
        (
            one.runtime,
            one.standing,
            one.network,
            one.allowed,
            one.denied,
            one.first_seen_at,
            None if one.last_seen_at is None else _ago(one.last_seen_at, moment),
        )
        for one in report.runtimes
    ]
    return page_lines(
        [
            [_totals(report)],
            Table(columns=_CALLERS, rows=callers),
        ],
        width,
    )


def _totals(report: IncidentReport) -> str:
    totals = report.totals
    return (
        f"Since {spelled(report.window.since)} (UTC): {counted(totals.allowed, 'request')} let in, "
        f"{totals.denied:,} denied, {totals.after_containment:,} of them after containment."
    )


def _ago(at: datetime, moment: datetime) -> str:
    return f"{span((moment - at).total_seconds())} ago"
