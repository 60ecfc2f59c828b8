"""Destinations as tests open them, and what each test may expect of all of them."""

from collections.abc import Callable, Mapping
from uuid import UUID

import pytest

from keyturn.destinations.contract import (
    Destination,
    DestinationFault,
    DestinationKind,
    FaultKind,
    Opening,
)
from keyturn.domain.slot import SlotName

SLOT = SlotName(service="scheduler", environment="prod")
OTHER = SlotName(service="billing", environment="prod")
OLD, NEW, THIRD = "tests-token-old", "tests-token-new", "tests-token-third"


def open_one(
    kind: DestinationKind, config: Mapping[str, object], credential: Mapping[str, str]
) -> Destination:
    opening = Opening(
        workspace_id=UUID(int=1),
        destination_id=UUID(int=2),
        config=kind.check(config, credential),
        credential=credential,
    )
    return kind.open(opening)


def fault_of(call: Callable[[], object]) -> FaultKind:
    """The kind of the fault that the call raises. Nothing that anybody has said is in its text."""
    with pytest.raises(DestinationFault) as caught:
        call()
    text = f"{caught.value!r} {caught.value.detail}"
    for secret in (OLD, NEW, THIRD, "SECRET", "tests-", "Exception", "http"):
        assert secret not in text
    assert caught.value.__cause__ is None
    assert caught.value.detail.endswith(".") or "`keyturn[" in caught.value.detail
    return caught.value.kind


def value_of(destination: Destination) -> str | None:
    held = destination.read(SLOT)
    return None if held is None else held.value


def version_of(destination: Destination) -> str | None:
    held = destination.read(SLOT)
    return None if held is None else held.version
