"""The final table: each figure in words, and whether it is as it must be."""

from keyturn.demo.figures import Figures
from keyturn.demo.incident_table import incident_lines
from keyturn.demo.line import Line, first, requests

# What was answered for each of the two services: for its old key, and for its new one.
ANSWERS = 4


def faults(figures: Figures) -> list[str]:
    """A sentence for each figure that is wrong."""
    return [line.fault for line in lines(figures) if line.fault is not None]


def lines(figures: Figures) -> list[Line]:
    """The final table."""
    return [
        *_of_traffic(figures),
        *_of_delivery(figures),
        *_of_rotation(figures),
        *incident_lines(figures.incident),
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
            fault=first(
                (failed, f"{requests(failed)} failed during the rotation; none may."),
                (not sent, "Nothing was sent during the rotation, so it proves nothing."),
            ),
        ),
        Line(
            title="Failed otherwise (the leaked key apart)",
            value=f"{otherwise:,}",
            fault=first(
                (otherwise, f"{requests(otherwise)} failed outside of the rotation; none may.")
            ),
        ),
    ]


def _of_delivery(figures: Figures) -> list[Line]:
    delivered_ms, used_ms = figures.delivered_ms, figures.first_use_ms
    shown, answers = figures.tokens_shown, figures.answers
    return [
        Line(
            title="The rotation was started by",
            value=figures.started_by or "nobody knows",
            fault=first(
                (
                    not figures.has_started_by_itself,
                    "The rotation was started by a person, and not by its schedule.",
                )
            ),
        ),
        Line(
            title="Its token was delivered to",
            value=f"{figures.destination} ({figures.destination_kind}), {_past(delivered_ms)}",
            fault=first(
                (
                    delivered_ms is None or delivered_ms < 0,
                    "The new token was not delivered.",
                )
            ),
        ),
        Line(
            title="First request with it",
            value=_past(used_ms),
            fault=first(
                (
                    used_ms is None or used_ms < 0,
                    "No service has used the new token.",
                )
            ),
        ),
        Line(
            title="Tokens that a person was shown",
            value=f"{shown:,} of {answers:,}",
            fault=first(
                (shown, "A person was shown a token that is delivered."),
                (answers < ANSWERS, "Nobody asked for a new token, so it proves nothing."),
            ),
        ),
    ]


def _of_rotation(figures: Figures) -> list[Line]:
    moved_ms, brownout_ms, lifts = (
        figures.move_to_retirement_ms,
        figures.brownout_ms,
        figures.lifts,
    )
    return [
        Line(
            title="Waited for, and the end refused meanwhile",
            value=", ".join(figures.stragglers) or "nobody",
            fault=first(
                (not figures.stragglers, "Nobody was waited for, so it proves nothing."),
                (not figures.was_refused, "The rotation was ended while somebody was waited for."),
            ),
        ),
        Line(
            title="The old key retired by itself",
            value="yes" if figures.has_retired_by_itself else "no",
            fault=first(
                (not figures.has_retired_by_itself, "The old key did not retire by itself.")
            ),
        ),
        Line(
            title="From the last one's move to that",
            value="never" if moved_ms is None else f"{moved_ms / 1_000:.1f} s",
            fault=first(
                (
                    moved_ms is None or moved_ms < 0,
                    "The old key was not retired after each service had moved.",
                )
            ),
        ),
        Line(
            title="Brown-out, times that it was lifted",
            value=f"{'none' if brownout_ms is None else f'{brownout_ms / 1_000:.1f} s'}, {lifts:,}",
            fault=first(
                (brownout_ms is None, "The old key was retired without a brown-out."),
                (lifts, "The brown-out hit a service that had moved, and was lifted."),
            ),
        ),
    ]


def _of_log(figures: Figures) -> list[Line]:
    sent, found, agreeing = figures.logged, figures.found_in_log, figures.agreeing_with_log
    missing, unknown, differing = sent - found, figures.unknown_in_log, found - agreeing
    return [
        Line(
            title="Found in the request log by id / sent",
            value=f"{found:,} / {sent:,}",
            fault=first(
                (missing, f"{requests(missing)} cannot be found in the request log by id."),
                (unknown, f"The request log has {requests(unknown)} that nobody sent."),
            ),
        ),
        Line(
            title="Logged as the caller saw it (verdict, key)",
            value=f"{agreeing:,} / {found:,}",
            fault=first(
                (differing, f"The request log tells {requests(differing)} otherwise than it was."),
            ),
        ),
    ]


def _past(ms: float | None) -> str:
    """A moment relative to the rotation's start."""
    return "never" if ms is None else f"{ms / 1_000:.2f} s after its start"
