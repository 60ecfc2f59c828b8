"""`AsyncKeyturn`, the client that is awaited, on asyncio or trio."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, assert_never

import anyio
import httpx2

from keyturn.ambient import SystemClock, SystemEntropy
from keyturn.client.activity import list_activity
from keyturn.client.attempts import RetryPolicy
from keyturn.client.binding import AsyncGroup, AsyncListed, AsyncSent
from keyturn.client.call import Answer, Call
from keyturn.client.channels import (
    change_channel,
    create_channel,
    delete_channel,
    list_channels,
    read_channel,
    replay_channel,
    rotate_secret,
    try_channel,
)
from keyturn.client.configuration import check_timeout, open_session
from keyturn.client.deliveries import (
    cancel_delivery,
    list_deliveries,
    read_delivery,
    retry_delivery,
)
from keyturn.client.destinations import (
    change_destination,
    create_destination,
    list_destinations,
    prove_destination,
    read_destination,
    remove_destination,
)
from keyturn.client.errors import ClientClosed
from keyturn.client.exchange import Failure, Fetch, Outcome, Outgoing, Step, Wait
from keyturn.client.findings import acknowledge_finding, list_findings, read_finding
from keyturn.client.health import (
    look_at_health,
    look_at_readiness,
    look_at_server,
    measure_server,
)
from keyturn.client.incidents import (
    close_incident,
    export_incident,
    list_incidents,
    open_incident,
    place_caller,
    read_incident,
    replace_keys,
    report_incident,
    select_keys,
)
from keyturn.client.key_source import KeySource
from keyturn.client.keys import (
    change_key,
    create_key,
    list_keys,
    read_key,
    resume_key,
    revoke_key,
    suspend_key,
    trace_key,
)
from keyturn.client.messages import list_messages, read_message, replay_message
from keyturn.client.posture import (
    end_waiver,
    list_evidence,
    list_waivers,
    read_posture,
    waive_check,
)
from keyturn.client.requests import list_requests, measure_usage
from keyturn.client.rotations import (
    brown_out_rotation,
    complete_rotation,
    decide_runtime,
    extend_rotation,
    list_rotations,
    read_rotation,
    roll_back_rotation,
    start_rotation,
    weigh_key,
)
from keyturn.client.slots import define_slot, list_slots, read_slot
from keyturn.client.staff_changes import report_staff_change
from keyturn.client.transport import answer_of, check_address, failure_of, ways
from keyturn.client.verify import look_at_self, verify
from keyturn.client.workspaces import (
    change_workspace,
    create_workspace,
    list_workspaces,
    read_workspace,
)
from keyturn.domain.token import Token

T = TypeVar("T")


class AsyncKeys(AsyncGroup):
    create = AsyncSent(create_key)
    list = AsyncListed(list_keys)
    read = AsyncSent(read_key)
    change = AsyncSent(change_key)
    revoke = AsyncSent(revoke_key)
    suspend = AsyncSent(suspend_key)
    resume = AsyncSent(resume_key)
    trace = AsyncSent(trace_key)
    usage = AsyncSent(measure_usage)
    impact = AsyncSent(weigh_key)


class AsyncSlots(AsyncGroup):
    list = AsyncListed(list_slots)
    read = AsyncSent(read_slot)
    define = AsyncSent(define_slot)


class AsyncRotations(AsyncGroup):
    start = AsyncSent(start_rotation)
    list = AsyncListed(list_rotations)
    read = AsyncSent(read_rotation)
    complete = AsyncSent(complete_rotation)
    rollback = AsyncSent(roll_back_rotation)
    extend = AsyncSent(extend_rotation)
    brownout = AsyncSent(brown_out_rotation)
    decide = AsyncSent(decide_runtime)


class AsyncDestinations(AsyncGroup):
    create = AsyncSent(create_destination)
    list = AsyncListed(list_destinations)
    read = AsyncSent(read_destination)
    change = AsyncSent(change_destination)
    prove = AsyncSent(prove_destination)
    remove = AsyncSent(remove_destination)


class AsyncDeliveries(AsyncGroup):
    list = AsyncListed(list_deliveries)
    read = AsyncSent(read_delivery)
    retry = AsyncSent(retry_delivery)
    cancel = AsyncSent(cancel_delivery)


class AsyncIncidents(AsyncGroup):
    open = AsyncSent(open_incident)
    select = AsyncSent(select_keys)
    list = AsyncListed(list_incidents)
    read = AsyncSent(read_incident)
    place = AsyncSent(place_caller)
    replace = AsyncSent(replace_keys)
    close = AsyncSent(close_incident)
    report = AsyncSent(report_incident)
    export = AsyncSent(export_incident)


class AsyncFindings(AsyncGroup):
    list = AsyncListed(list_findings)
    read = AsyncSent(read_finding)
    acknowledge = AsyncSent(acknowledge_finding)


class AsyncPosture(AsyncGroup):
    read = AsyncSent(read_posture)
    evidence = AsyncListed(list_evidence)
    waive = AsyncSent(waive_check)
    waivers = AsyncListed(list_waivers)
    unwaive = AsyncSent(end_waiver)


class AsyncStaffChanges(AsyncGroup):
    report = AsyncSent(report_staff_change)


class AsyncChannels(AsyncGroup):
    create = AsyncSent(create_channel)
    list = AsyncListed(list_channels)
    read = AsyncSent(read_channel)
    change = AsyncSent(change_channel)
    delete = AsyncSent(delete_channel)
    rotate_secret = AsyncSent(rotate_secret)
    test = AsyncSent(try_channel)
    replay = AsyncSent(replay_channel)


class AsyncMessages(AsyncGroup):
    list = AsyncListed(list_messages)
    read = AsyncSent(read_message)
    replay = AsyncSent(replay_message)


class AsyncWorkspaces(AsyncGroup):
    create = AsyncSent(create_workspace)
    list = AsyncListed(list_workspaces)
    read = AsyncSent(read_workspace)
    change = AsyncSent(change_workspace)


class AsyncRequests(AsyncGroup):
    list = AsyncListed(list_requests)


class AsyncActivity(AsyncGroup):
    list = AsyncListed(list_activity)


class AsyncKeyturn(AsyncGroup):
    """`Keyturn` for asynchronous programs: the same operations, awaited, and lists for
    `async for`. Use it as `async with`, or `await aclose()` it."""

    verify = AsyncSent(verify)
    whoami = AsyncSent(look_at_self)
    about = AsyncSent(look_at_server)
    health = AsyncSent(look_at_health)
    readiness = AsyncSent(look_at_readiness)
    metrics = AsyncSent(measure_server)

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | Token | KeySource | None = None,
        api_key_file: str | Path | None = None,
        workspace: str | None = None,
        runtime: str | None = None,
        timeout_seconds: float = 30.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        super().__init__(self)
        self._session = open_session(
            os.environ,
            url=url,
            api_key=api_key,
            api_key_file=api_key_file,
            workspace=workspace,
            runtime=runtime,
            retry=retry,
            clock=SystemClock(),
            entropy=SystemEntropy(),
        )
        check_address(self._session.url)
        self._http = httpx2.AsyncClient(
            timeout=check_timeout(timeout_seconds), mounts=ways(self._session.url)
        )
        self._is_closed = False
        self.keys = AsyncKeys(self)
        self.slots = AsyncSlots(self)
        self.rotations = AsyncRotations(self)
        self.destinations = AsyncDestinations(self)
        self.deliveries = AsyncDeliveries(self)
        self.incidents = AsyncIncidents(self)
        self.findings = AsyncFindings(self)
        self.posture = AsyncPosture(self)
        self.staff_changes = AsyncStaffChanges(self)
        self.channels = AsyncChannels(self)
        self.messages = AsyncMessages(self)
        self.workspaces = AsyncWorkspaces(self)
        self.requests = AsyncRequests(self)
        self.activity = AsyncActivity(self)

    @property
    def url(self) -> str:
        return self._session.url

    async def send(self, call: Call[T]) -> T:
        """Sends a call, again where it may be, and gives its result."""
        steps = self._session.exchange(call)
        step = next(steps)
        while True:
            try:
                step = steps.send(await self._carried_out(step))
            except StopIteration as done:
                result: T = done.value
                return result

    async def _carried_out(self, step: Step) -> Outcome:
        match step:
            case Outgoing():
                return await self._sent(step)
            case Wait(seconds=seconds):
                await anyio.sleep(seconds)
                return None
            case Fetch(source=source, refused=refused):
                waited = source.atoken() if refused is None else source.aother_than(refused)
                return await waited
            case _:
                assert_never(step)

    async def _sent(self, outgoing: Outgoing) -> Answer | Failure:
        if self._is_closed:
            raise ClientClosed
        try:
            response = await self._http.request(
                outgoing.method,
                outgoing.url,
                headers=dict(outgoing.headers),
                content=outgoing.content,
            )
        except httpx2.RequestError as error:
            return failure_of(error)
        except RuntimeError:
            if self._is_closed:  # since it was asked above: the library sends nothing then
                raise ClientClosed from None
            raise
        return answer_of(response)

    async def aclose(self) -> None:
        """Gives the connections back."""
        self._is_closed = True
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
