"""The lines of the final table that tell of the incident."""

from keyturn.demo.incident_figures import IncidentFigures
from keyturn.demo.line import Line, first, requests


def incident_lines(figures: IncidentFigures) -> list[Line]:
    return [*_of_containment(figures), *_of_report(figures), *_of_recovery(figures)]


def _of_containment(figures: IncidentFigures) -> list[Line]:
    sent, accepted = figures.sent_after, figures.accepted_after
    return [
        Line(
            title="Accepted after the incident's answer",
            value=f"{accepted:,} of {sent:,}",
            fault=first(
                (accepted, f"{requests(accepted)} got through after the incident's answer."),
                (not figures.tried, "The thief did not try again, so it proves nothing."),
            ),
        ),
        Line(
            title="Incident answered after",
            value=f"{figures.answered_ms:.1f} ms",
            must_hold=False,
        ),
        *(
            Line(title=title, value=_moment(ms), must_hold=False)
            for title, ms in (
                ("Last accepted request sent", figures.last_accepted_sent_ms),
                ("Last acceptance received", figures.last_acceptance_ms),
                ("First refusal received", figures.first_refusal_ms),
            )
        ),
    ]


def _of_report(figures: IncidentFigures) -> list[Line]:
    sent, reported, others = figures.thief.sent, figures.reported, figures.misreported
    return [
        Line(
            title="Not ours, by the report",
            value=", ".join(figures.strangers) or "nobody",
            fault=first((not figures.strangers, "The report names nobody who is not ours.")),
        ),
        Line(
            title="The thief's requests in the report / sent",
            value=f"{reported:,} / {sent:,}",
            fault=first(
                (sent - reported, f"The report misses {requests(sent - reported)} of the thief."),
                (others, f"The report lays {requests(others)} on a thief who did not send them."),
                (not figures.is_complete, "The report is not complete."),
                (not figures.thief.served, "The thief got at nothing, so it proves nothing."),
            ),
        ),
    ]


def _of_recovery(figures: IncidentFigures) -> list[Line]:
    used, recovered = figures.used_ms, figures.recovered_ms
    return [
        Line(
            title="Closing before the worker was healthy",
            value="refused" if figures.was_refused else "done",
            fault=first((not figures.was_refused, "The incident was closed too early.")),
        ),
        Line(
            title="Time to contain / replace / recover",
            value=" / ".join(
                map(_taken, (figures.answered_ms, figures.replaced_ms, figures.recovered_ms))
            ),
            fault=first(
                (figures.replaced_ms is None, "The leaked key was not replaced."),
                (used is None, "The worker was not seen with its new key."),
                (recovered is None, "The worker did not recover."),
                (
                    used is not None and recovered is not None and recovered < used,
                    "The worker counted as recovered before it used its new key.",
                ),
                (not figures.is_closed, "The incident was not closed."),
            ),
        ),
    ]


def _moment(ms: float | None) -> str:
    """A moment relative to the incident's answer, the line above."""
    return "never" if ms is None else f"{abs(ms):.1f} ms {'before' if ms < 0 else 'after'} that"


def _taken(ms: float | None) -> str:
    return "never" if ms is None else f"{ms / 1_000:.2f} s"
