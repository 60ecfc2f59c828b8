"""`Keyturn`, the client that blocks."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, assert_never

import httpx2

from keyturn.ambient import SystemClock, SystemEntropy
from keyturn.client.activity import list_activity
from keyturn.client.attempts import RetryPolicy
from keyturn.client.binding import Group, Listed, Sent
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


class Keys(Group):
    create = Sent(create_key)
    list = Listed(list_keys)
    read = Sent(read_key)
    change = Sent(change_key)
    revoke = Sent(revoke_key)
    suspend = Sent(suspend_key)
    resume = Sent(resume_key)
    trace = Sent(trace_key)
    usage = Sent(measure_usage)
    impact = Sent(weigh_key)


class Slots(Group):
    list = Listed(list_slots)
    read = Sent(read_slot)
    define = Sent(define_slot)


class Rotations(Group):
    start = Sent(start_rotation)
    list = Listed(list_rotations)
    read = Sent(read_rotation)
    complete = Sent(complete_rotation)
    rollback = Sent(roll_back_rotation)
    extend = Sent(extend_rotation)
    brownout = Sent(brown_out_rotation)
    decide = Sent(decide_runtime)


class Destinations(Group):
    create = Sent(create_destination)
    list = Listed(list_destinations)
    read = Sent(read_destination)
    change = Sent(change_destination)
    prove = Sent(prove_destination)
    remove = Sent(remove_destination)


class Deliveries(Group):
    list = Listed(list_deliveries)
    read = Sent(read_delivery)
    retry = Sent(retry_delivery)
    cancel = Sent(cancel_delivery)


class Incidents(Group):
    open = Sent(open_incident)
    select = Sent(select_keys)
    list = Listed(list_incidents)
    read = Sent(read_incident)
    place = Sent(place_caller)
    replace = Sent(replace_keys)
    close = Sent(close_incident)
    report = Sent(report_incident)
    export = Sent(export_incident)


class Findings(Group):
    list = Listed(list_findings)
    read = Sent(read_finding)
    acknowledge = Sent(acknowledge_finding)


class Posture(Group):
    read = Sent(read_posture)
    evidence = Listed(list_evidence)
    waive = Sent(waive_check)
    waivers = Listed(list_waivers)
    unwaive = Sent(end_waiver)


class StaffChanges(Group):
    report = Sent(report_staff_change)


class Channels(Group):
    create = Sent(create_channel)
    list = Listed(list_channels)
    read = Sent(read_channel)
    change = Sent(change_channel)
    delete = Sent(delete_channel)
    rotate_secret = Sent(rotate_secret)
    test = Sent(try_channel)
    replay = Sent(replay_channel)


class Messages(Group):
    list = Listed(list_messages)
    read = Sent(read_message)
    replay = Sent(replay_message)


class Workspaces(Group):
    create = Sent(create_workspace)
    list = Listed(list_workspaces)
    read = Sent(read_workspace)
    change = Sent(change_workspace)


class Requests(Group):
    list = Listed(list_requests)


class Activity(Group):
    list = Listed(list_activity)


class Keyturn(Group):
    """A client of one Keyturn, for any number of threads. Use it as a context manager, or `close`
    it.

    `url`, the token and `workspace` are taken from `KEYTURN_URL`, `KEYTURN_API_KEY` (or, better,
    the file that `KEYTURN_API_KEY_FILE` names) and `KEYTURN_WORKSPACE` where they are not given.
    A file is followed when it changes, and so is the place of a `KeySource`: a call that is refused
    with a token that was replaced meanwhile is made once more with the new one.
    `workspace` is for operators; `runtime` is the name by which this workload declares itself.
    `timeout_seconds` bounds each wait for the network, `retry` all attempts of a call together.
    Raises `ConfigurationFault`.
    """

    verify = Sent(verify)
    whoami = Sent(look_at_self)
    about = Sent(look_at_server)
    health = Sent(look_at_health)
    readiness = Sent(look_at_readiness)
    metrics = Sent(measure_server)

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
        self._clock = SystemClock()
        self._session = open_session(
            os.environ,
            url=url,
            api_key=api_key,
            api_key_file=api_key_file,
            workspace=workspace,
            runtime=runtime,
            retry=retry,
            clock=self._clock,
            entropy=SystemEntropy(),
        )
        check_address(self._session.url)
        self._timeout_seconds = check_timeout(timeout_seconds)
        self._connections = {os.getpid(): self._connect()}
        self._is_closed = False
        self.keys = Keys(self)
        self.slots = Slots(self)
        self.rotations = Rotations(self)
        self.destinations = Destinations(self)
        self.deliveries = Deliveries(self)
        self.incidents = Incidents(self)
        self.findings = Findings(self)
        self.posture = Posture(self)
        self.staff_changes = StaffChanges(self)
        self.channels = Channels(self)
        self.messages = Messages(self)
        self.workspaces = Workspaces(self)
        self.requests = Requests(self)
        self.activity = Activity(self)

    @property
    def url(self) -> str:
        return self._session.url

    def send(self, call: Call[T]) -> T:
        """Sends a call, again where it may be, and gives its result."""
        steps = self._session.exchange(call)
        step = next(steps)
        while True:
            try:
                step = steps.send(self._carried_out(step))
            except StopIteration as done:
                result: T = done.value
                return result

    def _carried_out(self, step: Step) -> Outcome:
        match step:
            case Outgoing():
                return self._sent(step)
            case Wait(seconds=seconds):
                self._clock.sleep(seconds)
                return None
            case Fetch(source=source, refused=refused):
                return source.token() if refused is None else source.other_than(refused)
            case _:
                assert_never(step)

    def _sent(self, outgoing: Outgoing) -> Answer | Failure:
        if self._is_closed:
            raise ClientClosed
        try:
            response = self._own_connections().request(
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

    def _own_connections(self) -> httpx2.Client:
        """Those of this process. After a fork the parent's are left alone: of two that read from
        one connection, each could take the other's verdict for its own."""
        pid = os.getpid()
        mine = self._connections.get(pid)
        # Of two threads that come first, one's are everybody's. A lock might have been held at the
        # fork by a thread that is not here to give it back.
        return mine or self._connections.setdefault(pid, self._connect())

    def _connect(self) -> httpx2.Client:
        return httpx2.Client(timeout=self._timeout_seconds, mounts=ways(self.url))

    def close(self) -> None:
        """Gives the connections back."""
        self._is_closed = True
        mine = self._connections.get(os.getpid())
        if mine is not None:
            mine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
