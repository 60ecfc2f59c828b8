"""Both faces have the same operations, and these are all that the server's document has."""

import inspect
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace, UnionType
from typing import Any, Literal, Union, get_args, get_origin
from urllib.parse import parse_qsl, urlsplit

import pytest

from keyturn.client import (
    NO_RETRY,
    AsyncKeyturn,
    ExpectedRuntime,
    KeySelection,
    Keyturn,
    KeyWaiver,
    MaintenanceWindow,
    NamedNetwork,
    RotationPolicy,
    Waiver,
)
from keyturn.client.binding import AsyncListed, AsyncSent, Listed, Sent
from keyturn.client.call import Call, Listing
from keyturn.client.exchange import Outgoing
from keyturn.domain.token import Token
from keyturn.http.app import build_app
from keyturn.http.guard import PERMISSION
from keyturn.http.openapi import openapi_document
from tests.client.driving import UNSENT, URL, drive

GROUPS = (
    *("keys", "rotations", "incidents", "destinations", "deliveries", "findings", "staff_changes"),
    *("slots", "workspaces", "requests", "channels", "messages", "activity", "posture"),
)
DOCUMENT: Any = json.loads(openapi_document(build_app(SimpleNamespace(version=""))))  # type: ignore[arg-type]

# What a client says of itself once, and what paging sees to.
OF_THE_CLIENT = {"X-Request-Id", "Keyturn-Workspace", "Keyturn-Runtime"}
OF_PAGING = {"cursor"}

Method = Sent[Any, Any] | Listed[Any, Any] | AsyncSent[Any, Any] | AsyncListed[Any, Any]


def operations(face: type, made: Callable[[], object]) -> dict[str, Method]:
    """Every operation of a face, by its name in a program."""
    client = made()
    owners = {"": face, **{f"{name}.": type(getattr(client, name)) for name in GROUPS}}
    return {
        f"{prefix}{name}": one
        for prefix, owner in owners.items()
        for name, one in vars(owner).items()
        if isinstance(one, Sent | Listed | AsyncSent | AsyncListed)
    }


BLOCKING = operations(Keyturn, lambda: Keyturn(URL))
AWAITED = operations(AsyncKeyturn, lambda: AsyncKeyturn(URL))


def test_both_faces_have_the_same_operations() -> None:
    assert list(BLOCKING) == list(AWAITED)
    for name, one in BLOCKING.items():
        other = AWAITED[name]
        assert other.operation is one.operation, name
        assert isinstance(other, AsyncListed) is isinstance(one, Listed), name


def test_both_faces_are_made_of_the_same() -> None:
    assert inspect.signature(Keyturn) == inspect.signature(AsyncKeyturn)
    public = {name for name in dir(Keyturn) if not name.startswith("_")}
    awaited = {name for name in dir(AsyncKeyturn) if not name.startswith("_")}
    assert public - {"close"} == awaited - {"aclose"}


def test_a_method_shows_the_parameters_and_the_words_of_its_operation() -> None:
    for client in (Keyturn(URL), AsyncKeyturn(URL)):
        assert inspect.getdoc(client.keys.create) == inspect.getdoc(
            BLOCKING["keys.create"].operation
        )
        assert "allowed_cidrs" in inspect.signature(client.keys.create).parameters
        assert client.keys.create.__name__ == "create_key"


# --- the operations against the document ----------------------------------------------------------


PLAIN: dict[object, object] = {
    datetime: datetime(2026, 1, 2, tzinfo=UTC),
    bool: True,
    int: 7,
    KeySelection: KeySelection(slot="a-prod"),
    RotationPolicy: RotationPolicy(
        maintenance_windows=[MaintenanceWindow(days=["mon"], starts="02:00", minutes=60)]
    ),
}
MADE: dict[tuple[object, ...], object] = {
    (ExpectedRuntime,): [ExpectedRuntime(name="a")],
    (KeyWaiver,): [KeyWaiver(key_id="a", reason="b", until=datetime(2026, 1, 2, tzinfo=UTC))],
    (str | Token,): ["a"],
    (Waiver,): [Waiver(runtime="a", reason="b")],
    (NamedNetwork,): [NamedNetwork(name="a", cidrs=["::1/128"])],
    (str,): ["a"],
    (str, str): {"a": "b"},
    (str, object): {"a": "b"},
}


def given(annotation: object, name: str) -> object:
    """A value that a parameter takes."""
    is_choice = get_origin(annotation) in (Union, UnionType)
    kind = get_args(annotation)[0] if is_choice else annotation
    if kind is str:
        return f"a-{name}"
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    return PLAIN[kind] if kind in PLAIN else MADE[get_args(kind)]


def sent_with_everything(operation: Callable[..., object]) -> Outgoing:
    """What an operation sends where every parameter is given."""
    members = {
        name: given(one.annotation, name)
        for name, one in inspect.signature(operation).parameters.items()
    }
    made = operation(**members)
    call = made.first if isinstance(made, Listing) else made
    assert isinstance(call, Call)
    [sent] = drive(call, [UNSENT], retry=NO_RETRY).sent
    return sent


SENT = {name: sent_with_everything(one.operation) for name, one in BLOCKING.items()}


def declared() -> Iterator[tuple[str, str, Any]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def path_of(sent: Outgoing) -> str:
    return sent.url.removeprefix(URL).partition("?")[0]


# Of one call, what gives another record has an operation of its own.
SEVERAL = {
    "POST /v1/incidents": {"incidents.open", "incidents.select"},
    "GET /v1/incidents/{id}/report": {"incidents.report", "incidents.export"},
}


def found_for(method: str, path: str) -> dict[str, Outgoing]:
    pattern = re.compile(re.sub(r"\\\{\w+\\\}", "a-[a-z_]+", re.escape(path)))
    fitting = {
        name: sent
        for name, sent in SENT.items()
        if sent.method == method and pattern.fullmatch(path_of(sent))
    }
    expected = SEVERAL.get(f"{method} {path}", {*fitting} if len(fitting) == 1 else {"one"})
    assert set(fitting) == expected, f"{method} {path} has {len(fitting)} operations in the client"
    return fitting


def members(schema: Any) -> set[str]:
    if "$ref" in schema:
        return members(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    found = set(schema.get("properties", ()))
    for one in schema.get("anyOf", ()):
        found |= members(one)
    return found


def test_every_operation_of_the_document_has_one_in_the_client_and_none_is_left_over() -> None:
    names = {name for method, path, _ in declared() for name in found_for(method, path)}
    assert names == set(SENT)


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [pytest.param(*one, id=f"{one[0]} {one[1]}") for one in declared()],
)
def test_the_client_sends_every_parameter_and_every_member(
    method: str, path: str, operation: Any
) -> None:
    all_sent = [*found_for(method, path).values()]
    parameters = {(one["in"], one["name"]) for one in operation.get("parameters", ())}
    asked = {name for place, name in parameters if place == "query"} - OF_PAGING
    assert {name for sent in all_sent for name, _ in parse_qsl(urlsplit(sent.url).query)} == asked
    told = {name for place, name in parameters if place == "header"} - OF_THE_CLIENT
    assert told <= {name for sent in all_sent for name in sent.headers}
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    wanted = members(body["schema"]) if body else set()
    given_members = {name for sent in all_sent if sent.content for name in json.loads(sent.content)}
    assert given_members == wanted
    assert all(("Authorization" in sent.headers) is (PERMISSION in operation) for sent in all_sent)


def test_where_the_client_names_words_they_are_those_of_the_document() -> None:
    compared = set()
    for method, path, operation in declared():
        parameters = {
            told: one
            for name in found_for(method, path)
            for told, one in inspect.signature(BLOCKING[name].operation).parameters.items()
        }
        for one in operation.get("parameters", ()):
            schema = one["schema"]
            schema = DOCUMENT["components"]["schemas"].get(
                schema.get("$ref", "").rpartition("/")[2], schema
            )
            if "enum" in schema:
                words = [
                    word
                    for kind in get_args(parameters[one["name"]].annotation)
                    for word in get_args(kind)
                ]
                if words:  # else any text is taken, for words of a newer server
                    elsewhere = ["json"] if path.endswith("/report") else []  # is a record
                    assert [*elsewhere, *words] == schema["enum"], f"{path}: {one['name']}"
                    compared.add(one["name"])
    assert compared >= {"status", "reason", "bucket"}
