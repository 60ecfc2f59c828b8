"""The final table: each figure in words, and whether it is as it must be."""

from dataclasses import dataclass

from keyturn.demo.figures import Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the final table. `fault` is the sentence of a figure that is wrong, None for one
    that holds; a figure that `must_hold` nothing is only shown."""

    title: str
    value: str
    must_hold: bool = True
    fault: str | None = None


def faults(figures: Figures) -> list[str]:
    """A sentence for each figure that is wrong."""
    return [line.fault for line in lines(figures) if line.fault is not None]


def lines(figures: Figures) -> list[Line]:
    """The final table."""
    return [
        *_of_traffic(figures),
        *_of_revocation(figures),
        *_of_log(figures),
        Line(
            title="Round trip, median / p99",
            value=f"{figures.median_ms:.1f} ms / {figures.p99_ms:.1f} ms",
            must_hold=False,
        ),
    ]


def _of_traffic(figures: Figures) -> list[Line]:
    sent, failed = figures.sent_during_rotation, figures.failed_during_rotation
    otherwise = figures.failed_otherwise
    return [
        Line(
            title="Requests served / sent",
            value=f"{figures.served:,} / {figures.sent:,}",
            must_hold=False,
        ),
        Line(
            title="Failed during the rotation",
            value=f"{failed:,} of {sent:,}",
            fault=_first(
                (failed, f"{_requests(failed)} failed during the rotation; none may."),
                (not sent, "Nothing was sent during the rotation, so it proves nothing."),
            ),
        ),
        Line(
            title="Failed otherwise (the revoked worker apart)",
            value=f"{otherwise:,}",
            fault=_first(
                (otherwise, f"{_requests(otherwise)} failed outside of the rotation; none may.")
            ),
        ),
    ]


def _of_revocation(figures: Figures) -> list[Line]:
    sent, accepted = figures.sent_after_revocation, figures.accepted_after_revocation
    return [
        Line(
            title="Accepted after the revocation's answer",
            value=f"{accepted:,} of {sent:,}",
            fault=_first(
                (accepted, f"{_requests(accepted)} got through after the revocation's answer."),
                (not sent, "Nothing was sent after the revocation, so it proves nothing."),
            ),
        ),
        Line(
            title="Revocation answered after",
            value=f"{figures.revocation_ms:.1f} ms",
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


def _of_log(figures: Figures) -> list[Line]:
    sent, found, agreeing = figures.sent, figures.found_in_log, figures.agreeing_with_log
    missing, unknown, differing = sent - found, figures.unknown_in_log, found - agreeing
    return [
        Line(
            title="Found in the request log by id / sent",
            value=f"{found:,} / {sent:,}",
            fault=_first(
                (missing, f"{_requests(missing)} cannot be found in the request log by id."),
                (unknown, f"The request log has {_requests(unknown)} that nobody sent."),
            ),
        ),
        Line(
            title="Logged as the service saw it (verdict, key)",
            value=f"{agreeing:,} / {found:,}",
            fault=_first(
                (differing, f"The request log tells {_requests(differing)} otherwise than it was."),
            ),
        ),
    ]


def _moment(ms: float | None) -> str:
    """A moment relative to the revocation's answer, the line above."""
    return "never" if ms is None else f"{abs(ms):.1f} ms {'before' if ms < 0 else 'after'} that"


def _requests(number: int) -> str:
    return f"{number:,} request{'' if number == 1 else 's'}"


def _first(*cases: tuple[object, str]) -> str | None:
    return next((sentence for is_wrong, sentence in cases if is_wrong), None)
