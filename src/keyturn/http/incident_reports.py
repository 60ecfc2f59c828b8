"""`/v1/incidents/{id}/report`: the blast radius of an incident, for programs and for people."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from keyturn.domain.permission import Permission
from keyturn.http.answer import answer
from keyturn.http.call import Admitted, IncidentId
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.preference import preferred
from keyturn.http.report_bodies import ReportBody
from keyturn.http.report_facts import facts_of
from keyturn.http.report_page import HEADERS, spell_page
from keyturn.http.report_texts import spell_csv, spell_markdown
from keyturn.http.schema import Asked
from keyturn.services.report import Report, report_incident

Format = Literal["json", "markdown", "html", "csv"]
MEDIA_TYPES: dict[str, Format] = {
    "application/json": "json",
    "text/markdown": "markdown",
    "text/html": "html",
    "text/csv": "csv",
}
_TEXT = {"schema": {"type": "string"}}

router = APIRouter(tags=["incidents"], route_class=GuardedRoute)


class ReportAsked(Asked):
    format: Format | None = None


@router.get(
    "/v1/incidents/{id}/report",
    summary="Report an incident: who used its keys, for what, and what of it was not us",
    description="As JSON; or by `format` or `Accept` as Markdown for a ticket, as one HTML page "
    "that loads nothing and prints, or as CSV with the requests of callers that are not ours.",
    response_model=ReportBody,
    responses={200: {"content": {"text/markdown": _TEXT, "text/html": _TEXT, "text/csv": _TEXT}}},
    **guard(Permission.REQUESTS_READ),
)
def get_report(
    request: Request,
    call: Admitted,
    id: IncidentId,  # noqa: A002
    asked: Annotated[ReportAsked, Query()],
) -> Response:
    home, id_ = call.named_incident(id)
    # Everything that was answered so far is in it.
    complete_since = call.desk.witness.observe().complete_since
    report = report_incident(call.context, call.caller, home, id_, complete_since)
    accepted: Format = preferred(request.headers.getlist("accept"), MEDIA_TYPES)
    return _spelled(report, accepted if asked.format is None else asked.format)


def _spelled(report: Report, wanted: Format) -> Response:
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    match wanted:
        case "json":
            return answer(ReportBody.of(report), headers=headers)
        case "markdown":
            return _text(spell_markdown(facts_of(report)), "text/markdown", headers)
        case "html":
            return _text(spell_page(facts_of(report)), "text/html", {**headers, **HEADERS})
        case "csv":
            name = f'attachment; filename="incident-{report.incident.id}.csv"'
            return _text(spell_csv(report), "text/csv", {**headers, "Content-Disposition": name})


def _text(text: str, media_type: str, headers: dict[str, str]) -> Response:
    return Response(text, media_type=f"{media_type}; charset=utf-8", headers=headers)
