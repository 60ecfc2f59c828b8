"""`/v1/incidents`: exposed keys contained first, then known, replaced, recovered, closed."""

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from keyturn.domain.incident import OPEN_STATES, CallerStanding, IncidentState, Outcome
from keyturn.domain.permission import Permission
from keyturn.http.answer import answer, answer_list, etag
from keyturn.http.call import Admitted, Call, IncidentId
from keyturn.http.delivery_bodies import DeliveryBody
from keyturn.http.given import given_id
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.incident_bodies import (
    GivenClosing,
    GivenIncident,
    GivenPlacement,
    GivenReplacements,
    IncidentBody,
    IncidentRowBody,
    IncidentsAsked,
    OpenedIncidentBody,
    ReplacementBody,
    ReplacementsBody,
    SelectionBody,
)
from keyturn.http.paging import decode_cursor, encode_cursor, split_page
from keyturn.http.replay import IdempotencyKey, replaying
from keyturn.services.close import close_incident
from keyturn.services.foresee import foresee_incident
from keyturn.services.judge import JudgedIncident
from keyturn.services.recover import list_incidents, view_incident
from keyturn.services.replace import ReplacedKeys, replace_keys
from keyturn.services.respond import OpenedIncident, RememberJudged, open_incident, place_runtime
from keyturn.services.select import Named, Selection
from keyturn.storage.incidents import IncidentFilter
from keyturn.storage.transaction import Writing

router = APIRouter(tags=["incidents"], route_class=GuardedRoute)


@router.post(
    "/v1/incidents",
    summary="Contain exposed keys, and open an incident over them",
    description="The keys are refused everywhere when it answers. Keys that an open incident "
    "contains already are left there; where that is all of them, it is joined.",
    status_code=201,
    response_model=OpenedIncidentBody,
    responses={
        200: {
            "model": OpenedIncidentBody | SelectionBody,
            "description": "It was open already; or with `dry_run` what would be contained",
        }
    },
    **guard(Permission.INCIDENTS_WRITE, action="incident.opened", takes_away=True),
)
def post_incident(
    call: Admitted, body: GivenIncident, idempotency_key: IdempotencyKey = None
) -> Response:
    exposed = body.exposed(call.context.brand)
    home = call.home() if isinstance(exposed, Selection) else _home(call, exposed)
    with replaying(call, idempotency_key, "POST /v1/incidents", home) as replay:
        if replay.answer is not None:
            return replay.answer
        if isinstance(exposed, Selection) and body.dry_run is True:
            foreseen = foresee_incident(call.context, call.caller, home, body.exposure(), exposed)
            return answer(SelectionBody.of(foreseen, call.context.clock.now()))

        def remember(transaction: Writing, opened: OpenedIncident) -> None:
            replay.keep(
                transaction,
                status=_status(opened),
                headers=_headers(opened.judged),
                body=lambda: _opened(call, opened),
            )

        opened = open_incident(
            call.context, call.act, home, body.exposure(), exposed, call.arrived, remember
        )
    call.takes_effect(home)
    return answer(_opened(call, opened), status=_status(opened), headers=_headers(opened.judged))


def _home(call: Call, named: Named) -> UUID:
    return call.home_of_keys([one for one in named.ids if one is not None])


def _status(opened: OpenedIncident) -> int:
    return 200 if opened.is_open_already else 201


def _headers(judged: JudgedIncident) -> dict[str, str]:
    incident = judged.incident
    return {"ETag": etag(incident.version), "Location": f"/v1/incidents/{incident.id}"}


def _opened(call: Call, opened: OpenedIncident) -> OpenedIncidentBody:
    return OpenedIncidentBody.of_opened(opened, call.context.clock.now())


def _body(call: Call, judged: JudgedIncident) -> IncidentBody:
    return IncidentBody.of(judged, call.context.clock.now())


@router.get(
    "/v1/incidents",
    summary="List incidents",
    response_model=list[IncidentRowBody],
    **guard(Permission.REQUESTS_READ),
)
def get_incidents(
    request: Request, call: Admitted, asked: Annotated[IncidentsAsked, Query()]
) -> Response:
    before = decode_cursor(asked.cursor, str)
    wanted = IncidentFilter(
        states=_states(asked.state),
        key_id=given_id(asked.key_id, "/key_id"),
        reason=asked.reason,
        since=asked.since,
        until=asked.until,
    )
    found, total = list_incidents(
        call.context,
        call.caller,
        call.home(),
        wanted,
        limit=asked.limit + 1,
        before=None if before is None else given_id(str(before[0]), "/cursor"),
        count=asked.count,
    )
    page, last = split_page(found, asked.limit)
    now = call.context.clock.now()
    cursor = None if last is None else encode_cursor(str(last.incident.id))
    bodies = [IncidentRowBody.of(one, now) for one in page]
    return answer_list(request, bodies, cursor=cursor, total=total)


def _states(word: str) -> tuple[IncidentState, ...] | None:
    if word == "all":
        return None
    return tuple(sorted(OPEN_STATES)) if word == "open" else (IncidentState(word),)


@router.get(
    "/v1/incidents/{id}",
    summary="Read an incident, and its one next step",
    response_model=IncidentBody,
    **guard(Permission.REQUESTS_READ),
)
def get_incident(call: Admitted, id: IncidentId) -> Response:  # noqa: A002
    home, id_ = call.named_incident(id)
    judged = view_incident(call.context, call.caller, home, id_)
    return answer(_body(call, judged), headers={"ETag": etag(judged.incident.version)})


@router.post(
    "/v1/incidents/{id}/runtimes",
    summary="Say whether a caller is ours or an intruder",
    response_model=IncidentBody,
    **guard(Permission.INCIDENTS_WRITE, action="incident.placed", takes_away=True),
)
def post_runtime(
    call: Admitted,
    id: IncidentId,  # noqa: A002
    body: GivenPlacement,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    standing = CallerStanding(body.standing)
    return _moved(
        call,
        id,
        "runtimes",
        idempotency_key,
        lambda home, id_, remember: place_runtime(
            call.context, call.act, home, id_, body.runtime, body.network, standing, remember
        ),
    )


@router.post(
    "/v1/incidents/{id}/replacements",
    summary="Give contained keys a replacement each",
    description="A key that has one that lives is not given another.",
    status_code=201,
    response_model=ReplacementsBody,
    responses={200: {"model": ReplacementsBody, "description": "Each has one already"}},
    **guard(Permission.INCIDENTS_WRITE, action="incident.replaced"),
)
def post_replacements(
    call: Admitted,
    id: IncidentId,  # noqa: A002
    body: GivenReplacements | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    home, id_ = call.named_incident(id)
    asked = GivenReplacements() if body is None else body
    key_ids = _key_ids(asked)
    deliver_to = None if asked.deliver_to is None else tuple(asked.deliver_to)
    route = f"POST /v1/incidents/{id_}/replacements"
    with replaying(call, idempotency_key, route, home) as replay:
        if replay.answer is not None:
            return replay.answer

        def remember(transaction: Writing, replaced: ReplacedKeys) -> None:
            replay.keep(
                transaction,
                status=_made_status(replaced),
                headers={"ETag": etag(replaced.judged.incident.version)},
                body=lambda: _replacements(call, replaced, reveals=False),
            )

        replaced = replace_keys(call.context, call.act, home, id_, key_ids, deliver_to, remember)
    return answer(
        _replacements(call, replaced, reveals=True),
        status=_made_status(replaced),
        headers={
            "ETag": etag(replaced.judged.incident.version),
            "Cache-Control": "no-store",
        },
    )


def _key_ids(asked: GivenReplacements) -> list[UUID] | None:
    if asked.key_ids is None:
        return None
    ids = (given_id(one, f"/key_ids/{index}") for index, one in enumerate(asked.key_ids))
    return [one for one in ids if one is not None]


def _made_status(replaced: ReplacedKeys) -> int:
    return 201 if replaced.made else 200


def _replacements(call: Call, replaced: ReplacedKeys, *, reveals: bool) -> ReplacementsBody:
    return ReplacementsBody(
        replacements=[
            ReplacementBody(
                replaces=str(one.replaces),
                id=str(one.issued.view.key.id),
                name=one.issued.view.key.name,
                api_key=one.issued.reveal() if reveals else None,
                deliveries=[DeliveryBody.of(sent) for sent in one.issued.deliveries],
            )
            for one in replaced.made
        ],
        incident=_body(call, replaced.judged),
    )


@router.post(
    "/v1/incidents/{id}/close",
    summary="Close an incident whose keys are recovered or waived",
    description="A false alarm needs neither: what was suspended works again, what was revoked "
    "stays so.",
    response_model=IncidentBody,
    **guard(Permission.INCIDENTS_WRITE, action="incident.closed", takes_away=True),
)
def post_close(
    call: Admitted,
    id: IncidentId,  # noqa: A002
    body: GivenClosing | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    asked = GivenClosing() if body is None else body
    outcome, waived = asked.outcome or Outcome.CONFIRMED, asked.waived()
    return _moved(
        call,
        id,
        "close",
        idempotency_key,
        lambda home, id_, remember: close_incident(
            call.context, call.act, home, id_, outcome, waived, remember
        ),
    )


def _moved(
    call: Call,
    id_text: str,
    verb: str,
    idempotency_key: str | None,
    move: Callable[[UUID, UUID, RememberJudged], JudgedIncident],
) -> Response:
    home, id_ = call.named_incident(id_text)
    with replaying(call, idempotency_key, f"POST /v1/incidents/{id_}/{verb}", home) as replay:
        if replay.answer is not None:
            return replay.answer

        def remember(transaction: Writing, judged: JudgedIncident) -> None:
            replay.keep(
                transaction,
                status=200,
                headers={"ETag": etag(judged.incident.version)},
                body=lambda: _body(call, judged),
            )

        judged = move(home, id_, remember)
    call.takes_effect(home)
    return answer(_body(call, judged), headers={"ETag": etag(judged.incident.version)})
