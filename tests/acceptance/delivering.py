"""Destinations over HTTP: files below the server's own folder, one of which takes no long names."""

from tests.acceptance.api import Json, Workspace, expect, label

# Four times the name of a slot: a long one makes a file's name that no file system takes.
NARROW = "narrow{slot}{slot}{slot}{slot}"


def connect(home: Workspace, name: str, path: str) -> Json:
    """A destination of files, made where there is none of this name."""
    made = home.admin.post(
        "/v1/destinations", {"name": name, "kind": "file", "config": {"path": path}}
    )
    if made.status_code == 409:
        return expect(home.admin.get(f"/v1/destinations/{name}"), 200)
    body = expect(made, 201)
    assert body["state"] == "proven", body["fault"]
    return body


def unused_destination(home: Workspace) -> str:
    return str(connect(home, "unused", "unused/{slot}")["name"])


def waiting_delivery(home: Workspace) -> str:
    """A delivery that waits for ever, of a key whose token is somewhere else as well."""
    connect(home, "wide", "wide/{slot}")
    connect(home, "narrow", NARROW)
    service = label("long").ljust(63, "x")
    body = expect(
        home.admin.post(
            "/v1/api-keys",
            {"service": service, "environment": "prod", "deliver_to": ["wide", "narrow"]},
        ),
        201,
    )
    assert body["api_key"] is None
    [found] = [one["id"] for one in body["deliveries"] if one["destination"] == "narrow"]
    return str(found)
