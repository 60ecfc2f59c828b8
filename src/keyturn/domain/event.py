"""Events: what is told of a workspace to whoever wants to know.

1. Each activity entry of a workspace that tells of a success is an event; its type is the action,
   like `rotation.completed`. So the log is the list of events, and there is no second one.
2. Whoever wants events says which: a type, all of a noun (`rotation.*`), or all (`*`).
3. An event has a subject, what it happened to. Of one subject events are told in their order.
"""

from collections.abc import Iterable, Sequence

from keyturn.domain.activity import ActivityStatus, Entry
from keyturn.domain.error import Fault, RequestInvalid

EVERYTHING = "*"
# A trial of one channel, which it is sent whatever it wants, and no other channel is.
TRIAL = "channel.test"

# Every type there is. The documentation lists them, and a channel asks for these and no others.
EVENT_TYPES = {
    "rotation.started": "A second key works beside the first.",
    "rotation.completed": "The old key is retired.",
    "rotation.rolled_back": "The old key is the slot's key again.",
    "rotation.cancelled": "It ended without a result.",
    "rotation.browned_out": "The old key is suspended for a moment, as a test.",
    "rotation.lifted": "Somebody met the brown-out, and the old key works again.",
    "rotation.vetoed": "The old key was resumed by hand, or a record was changed from outside: "
    "a brown-out is over, and none begins by itself.",
    "rotation.meant": "A trial of a brown-out is the last step before the end by now.",
    "rotation.disowned": "The old key stays suspended after the brown-out: somebody wants it so.",
    "rotation.extended": "It has a later deadline.",
    "rotation.decided": "Somebody said what is to be held of a runtime.",
    "finding.opened": "There is something that a person should know; `finding` has what and why.",
    "finding.acknowledged": "Somebody knows.",
    "finding.resolved": "Its cause is gone.",
    "api_key.created": "A key was made.",
    "api_key.updated": "A key was changed.",
    "api_key.suspended": "A key is refused until it is resumed.",
    "api_key.resumed": "A suspended key works again.",
    "api_key.revoked": "A key is refused for ever.",
    "api_key.wrapped": "A key stands under another pepper; its token stays as it is.",
    "incident.opened": "Exposed keys are contained: refused from now on.",
    "incident.key_contained": "A key is refused, since it is in an incident.",
    "incident.counted": "Every use of its keys before they were contained is known.",
    "incident.placed": "Somebody said whether a caller is ours or an intruder.",
    "incident.replaced": "A contained key has a replacement.",
    "incident.advanced": "It has come on: `metadata` says to which state.",
    "incident.recovered": "Each of its keys is recovered or waived; it can be closed.",
    "incident.relapsed": "A key is not recovered any more.",
    "incident.waived": "It is closed over a key that is not recovered.",
    "incident.closed": "It is over.",
    "slot.created": "A slot was made.",
    "slot.updated": "What is said of a slot was changed.",
    "delivery.created": "A new token is on its way to a destination.",
    "delivery.delivered": "It is there.",
    "delivery.failing": "It has failed several times, and is tried on.",
    "delivery.lost": "What was delivered is not there any more; it is delivered again.",
    "delivery.restoring": "What was there before is put back.",
    "delivery.restored": "It is back.",
    "delivery.superseded": "Something newer is there, which is not written over.",
    "delivery.cancelled": "It was given up.",
    "destination.created": "A destination was made.",
    "destination.updated": "A destination was changed.",
    "destination.proven": "A destination was tried out, and takes what is delivered.",
    "destination.unproven": "It does not, or has to be tried out again.",
    "destination.removed": "A destination was taken away.",
    "workspace.created": "The workspace was made.",
    "workspace.updated": "The workspace was changed.",
    "workspace.suspended": "All keys of the workspace are refused.",
    "workspace.resumed": "They work again.",
    "channel.created": "A channel was made.",
    "channel.updated": "A channel was changed.",
    "channel.deleted": "A channel was taken away.",
    "channel.secret_rotated": "A channel has a new signing secret.",
    "channel.disabled": "A channel was given up on, since its receiver takes nothing.",
    "channel.replayed": "What a channel had not been given is sent anew.",
    "posture.waived": "A check of the guide may fail, until a stated time.",
    "posture.unwaived": "A waiver was ended before its time.",
    "message.replayed": "A message is sent anew.",
    TRIAL: "A trial: sent to one channel alone, whatever it wants.",
}

MOST_PATTERNS = 50
# What a channel may ask for.
PATTERNS = ("*", *sorted({f"{one.partition('.')[0]}.*" for one in EVENT_TYPES}), *EVENT_TYPES)


def check_patterns(patterns: Sequence[str], pointer: str = "/events") -> tuple[str, ...]:
    """The patterns, sorted and each once. Raises `RequestInvalid` naming each that is none."""
    if not patterns:
        raise RequestInvalid.at(pointer, "Name at least one event, or `*` for all.")
    if len(patterns) > MOST_PATTERNS:
        raise RequestInvalid.at(pointer, f"There may be at most {MOST_PATTERNS}.")
    detail = (
        "This is an event like `rotation.completed`, all of a noun like `rotation.*`, or `*`; the "
        "guide to notifications has them all."
    )
    faults = tuple(
        Fault(pointer=f"{pointer}/{index}", detail=detail)
        for index, one in enumerate(patterns)
        if one not in PATTERNS
    )
    if faults:
        raise RequestInvalid(detail, faults)
    return tuple(sorted(set(patterns)))


def wants(patterns: Iterable[str], event: str) -> bool:
    """Whether one of the patterns is of this type of event."""
    noun = event.partition(".")[0]
    return any(one in (EVERYTHING, event, f"{noun}.*") for one in patterns)


def is_event(entry: Entry) -> bool:
    """Whether an entry is told to channels. What was refused has not happened, what happened to the
    installation is nobody's, and a trial goes its own way."""
    return (
        entry.workspace_id is not None
        and entry.status is ActivityStatus.SUCCESS
        and entry.action != TRIAL
    )


def subject_of(entry: Entry) -> str:
    """What an event happened to, in one word. Each trial is one of its own: it waits for none."""
    if entry.action == TRIAL:
        return f"{entry.resource_type}/{entry.resource_id}/{entry.id}"
    return f"{entry.resource_type}/{entry.resource_id}"
