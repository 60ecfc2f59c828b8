"""`/v1/slots`: services in environments, and what people say of them."""

from collections.abc import Sequence

from keyturn.client.call import Call, Listing, body, if_match, if_none, query, reading, segment
from keyturn.client.paging import listing
from keyturn.client.resources import ExpectedRuntime, Slot

_PATH = "/v1/slots"
_slot = reading(Slot)


def list_slots(
    *,
    service: str | None = None,
    environment: str | None = None,
    owner: str | None = None,
    limit: int | None = None,
    count: bool = False,
) -> Listing[Slot]:
    """The slots of the workspace, newest first."""
    return listing(
        Slot,
        _PATH,
        query(
            service=service, environment=environment, owner=owner, limit=limit, count=count or None
        ),
    )


def read_slot(name: str) -> Call[Slot]:
    """A slot by its name, like `scheduler-prod`."""
    return Call(method="GET", path=f"{_PATH}/{segment(name)}", read=_slot)


def define_slot(
    name: str,
    *,
    owner: str | None = None,
    purpose: str | None = None,
    runbook_url: str | None = None,
    rotation_period_days: int | None = None,
    runtimes: Sequence[ExpectedRuntime] | None = None,
    destinations: Sequence[str] | None = None,
    version: int | None = None,
    is_new: bool = False,
) -> Call[Slot]:
    """Makes the slot, or gives it exactly these notes: what is left out is taken away. With a
    `version`, only that one is changed, and with `is_new` a slot is only made where there is none;
    else `VersionMoved`."""
    return Call(
        method="PUT",
        path=f"{_PATH}/{segment(name)}",
        headers={**if_match(version), **if_none(is_new)},
        content=body(
            owner=owner,
            purpose=purpose,
            runbook_url=runbook_url,
            rotation_period_days=rotation_period_days,
            runtimes=runtimes,
            destinations=destinations,
        ),
        may_repeat=version is None and not is_new,
        read=_slot,
    )
