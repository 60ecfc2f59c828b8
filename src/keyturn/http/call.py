"""One admitted call: who calls, about which workspace, and what it carries."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, cast
from uuid import UUID

from fastapi import Depends, Path, Request

from keyturn.domain.error import (
    ChannelUnknown,
    DeliveryUnknown,
    FindingUnknown,
    IncidentUnknown,
    KeyUnknown,
    MessageUnknown,
    PostureWaiverUnknown,
    RotationUnknown,
)
from keyturn.domain.identity import parse_id
from keyturn.http.desk import Desk
from keyturn.http.spelling import Id
from keyturn.services.context import Context
from keyturn.services.identify import Caller
from keyturn.services.inspect import grace_of
from keyturn.services.journal import Act
from keyturn.services.locate import (
    locate_channel,
    locate_delivery,
    locate_finding,
    locate_incident,
    locate_key,
    locate_keys,
    locate_message,
    locate_posture_waiver,
    locate_rotation,
    locate_workspace,
)


@dataclass(slots=True, kw_only=True)
class Call:
    """A call that passed the door, which it came to when it `arrived`. `workspace` is the one that
    its header names, if any. What waits on the network does it `away`: meanwhile the call holds up
    no evidence. What `takes_away` something is answered once that is effective everywhere."""

    desk: Desk
    caller: Caller
    request_id: str
    workspace: UUID | None
    body: object = None
    arrived: int = 0
    away: Callable[[], AbstractContextManager[None]] = nullcontext
    takes_away: bool = False
    grace_seconds: int | None = None

    def takes_effect(self, home: UUID) -> None:
        """To be said once a change is committed that takes something away in a workspace: the call
        is answered when no verifier goes by what was before, not even in the grace that the
        workspace gives."""
        if not self.takes_away:
            raise TypeError("the route of this call does not declare that it takes away")
        self.grace_seconds = grace_of(self.context, home)

    @property
    def context(self) -> Context:
        return self.desk.context

    @property
    def act(self) -> Act:
        return Act(caller=self.caller, request_id=self.request_id)

    def home(self) -> UUID:
        """The workspace of a call that creates or lists."""
        return locate_workspace(self.context, self.caller, self.workspace)

    def named_key(self, text: str) -> tuple[UUID, UUID]:
        """The workspace and the id of the key that a path names. Raises `KeyUnknown`."""
        id_ = parse_id(text)
        if id_ is None:
            raise KeyUnknown("There is no key with this id.")
        return locate_key(self.context, self.caller, self.workspace, id_), id_

    def named_rotation(self, text: str) -> tuple[UUID, UUID]:
        """The workspace and the id of the rotation that a path names. Raises `RotationUnknown`."""
        id_ = parse_id(text)
        if id_ is None:
            raise RotationUnknown("There is no rotation with this id.")
        return locate_rotation(self.context, self.caller, self.workspace, id_), id_

    def named_finding(self, text: str) -> tuple[UUID, UUID]:
        """The workspace and the id of the finding that a path names. Raises `FindingUnknown`."""
        id_ = parse_id(text)
        if id_ is None:
            raise FindingUnknown("There is no finding with this id.")
        return locate_finding(self.context, self.caller, self.workspace, id_), id_

    def named_incident(self, text: str) -> tuple[UUID, UUID]:
        """The workspace and the id of the incident that a path names. Raises `IncidentUnknown`."""
        id_ = parse_id(text)
        if id_ is None:
            raise IncidentUnknown("There is no incident with this id.")
        return locate_incident(self.context, self.caller, self.workspace, id_), id_

    def home_of_keys(self, ids: Sequence[UUID]) -> UUID:
        """The workspace of a call that names several keys. Raises `IncidentNoKey`."""
        return locate_keys(self.context, self.caller, self.workspace, ids)

    def named_delivery(self, text: str) -> tuple[UUID, UUID]:
        """The workspace and the id of the delivery that a path names. Raises `DeliveryUnknown`."""
        id_ = parse_id(text)
        if id_ is None:
            raise DeliveryUnknown("There is no delivery with this id.")
        return locate_delivery(self.context, self.caller, self.workspace, id_), id_

    def named_channel(self, text: str) -> tuple[UUID, UUID]:
        """The workspace and the id of the channel that a path names. Raises `ChannelUnknown`."""
        id_ = parse_id(text)
        if id_ is None:
            raise ChannelUnknown("There is no channel with this id.")
        return locate_channel(self.context, self.caller, self.workspace, id_), id_

    def named_posture_waiver(self, text: str) -> tuple[UUID, UUID]:
        """The workspace and the id of the waiver that a path names. Raises
        `PostureWaiverUnknown`."""
        id_ = parse_id(text)
        if id_ is None:
            raise PostureWaiverUnknown("There is no waiver with this id.")
        return locate_posture_waiver(self.context, self.caller, self.workspace, id_), id_

    def named_message(self, text: str) -> tuple[UUID, UUID]:
        """The workspace and the id of the message that a path names. Raises `MessageUnknown`."""
        id_ = parse_id(text)
        if id_ is None:
            raise MessageUnknown("There is no message with this id.")
        return locate_message(self.context, self.caller, self.workspace, id_), id_


def _admitted(request: Request) -> Call:
    return cast(Call, request.state.call)


# What a handler of a guarded route takes.
Admitted = Annotated[Call, Depends(_admitted)]

# What a handler takes from its path.
KeyId = Annotated[Id, Path(description="The key's id, as a UUID or in its 22 characters.")]
RotationId = Annotated[Id, Path(description="The rotation's id, as a UUID or in 22 characters.")]
DeliveryId = Annotated[Id, Path(description="The delivery's id, as a UUID or in 22 characters.")]
FindingId = Annotated[Id, Path(description="The finding's id, as a UUID or in 22 characters.")]
IncidentId = Annotated[Id, Path(description="The incident's id, as a UUID or in 22 characters.")]
ChannelId = Annotated[Id, Path(description="The channel's id, as a UUID or in 22 characters.")]
PostureWaiverId = Annotated[
    Id, Path(description="The waiver's id, as a UUID or in its 22 characters.")
]
MessageId = Annotated[Id, Path(description="The message's id, as a UUID or in 22 characters.")]
