"""`/v1/destinations`: where new tokens are delivered."""

from collections.abc import Mapping

from keyturn.client.call import (
    Answer,
    Call,
    Listing,
    body,
    if_match,
    once,
    query,
    reading,
    segment,
)
from keyturn.client.delivery_records import Destination
from keyturn.client.errors import NotUnderstood
from keyturn.client.paging import listing

_PATH = "/v1/destinations"
_NO_CONTENT = 204
_destination = reading(Destination)


def create_destination(
    name: str,
    kind: str,
    *,
    config: Mapping[str, object] | None = None,
    credential: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
) -> Call[Destination]:
    """Makes a destination of this kind (file, command, vault, aws, kubernetes, gcp, azure), and
    proves it: a mark is written there and read back. Look whether it `is_proven`; else `fault`
    says what did not go well. The credential is kept sealed, and never answered."""
    return Call(
        method="POST",
        path=_PATH,
        content=body(name=name, kind=kind, config=config, credential=credential),
        headers=once(idempotency_key),
        wants_idempotency_key=True,
        read=_destination,
    )


def list_destinations(
    *, kind: str | None = None, limit: int | None = None, count: bool = False
) -> Listing[Destination]:
    """The destinations of the workspace, newest first."""
    return listing(Destination, _PATH, query(kind=kind, limit=limit, count=count or None))


def read_destination(name: str) -> Call[Destination]:
    """A destination by its name."""
    return Call(method="GET", path=f"{_PATH}/{segment(name)}", read=_destination)


def change_destination(
    name: str,
    *,
    config: Mapping[str, object] | None = None,
    credential: Mapping[str, str] | None = None,
    version: int | None = None,
) -> Call[Destination]:
    """Gives it another configuration or another credential, each whole, and proves it anew. With a
    `version`, only that one is changed; else `VersionMoved`."""
    return Call(
        method="PATCH",
        path=f"{_PATH}/{segment(name)}",
        headers=if_match(version),
        content=body(config=config, credential=credential),
        may_repeat=version is None,
        read=_destination,
    )


def prove_destination(name: str) -> Call[Destination]:
    """Tries it once more: whether it `is_proven`, and if not, why."""
    return Call(
        method="POST",
        path=f"{_PATH}/{segment(name)}/prove",
        read=_destination,
    )


def remove_destination(name: str, *, version: int | None = None) -> Call[None]:
    """Takes a destination away, and its credential. What it holds stays there."""
    return Call(
        method="DELETE",
        path=f"{_PATH}/{segment(name)}",
        headers=if_match(version),
        may_repeat=False,  # sent twice, the second would find nothing: by the first
        read=_nothing,
    )


def _nothing(answer: Answer) -> None:
    if answer.status != _NO_CONTENT:
        raise NotUnderstood(answer.status, "it does not say that the destination is removed")
