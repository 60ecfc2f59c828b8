"""Answers: JSON bodies with the headers that the wire contract gives them."""

from collections.abc import Mapping, Sequence

from fastapi import Request, Response
from pydantic import BaseModel

from keyturn.http.paging import next_link


def answer(
    body: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """One object."""
    return Response(
        body.model_dump_json(),
        status_code=status,
        media_type="application/json",
        headers=dict(headers or {}),
    )


def answer_list(
    request: Request, bodies: Sequence[BaseModel], *, cursor: str | None, total: int | None
) -> Response:
    """A plain array, with the link to the next page and the count where there are any."""
    headers = {}
    if cursor is not None:
        headers["Link"] = next_link(request, cursor)
    if total is not None:
        headers["X-Total-Count"] = str(total)
    text = "[" + ",".join(body.model_dump_json() for body in bodies) + "]"
    return Response(text, media_type="application/json", headers=headers)


def etag(version: int) -> str:
    """The ETag of an object's version."""
    return f'"{version}"'
