"""What a check of Schemathesis would call a fault and the wire contract asks for: one line each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

REJECTED = "positive_data_acceptance"


@dataclass(frozen=True, kw_only=True)
class Told:
    """One finding: the check, the operation, and what the answer said."""

    check: str
    operation: str
    code: str
    pointers: Sequence[str]
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Excuse:
    """A finding that is none: of this check, here, for this code, at no other place."""

    check: str = REJECTED
    operation: str = ".*"
    code: str = "request.invalid"
    pointer: str = ""
    detail: str = ".*"
    reason: str

    def covers(self, told: Told) -> bool:
        return (
            told.check == self.check
            and re.fullmatch(self.operation, told.operation) is not None
            and told.code == self.code
            and re.fullmatch(self.detail, told.detail) is not None
            and all(re.fullmatch(self.pointer, pointer) for pointer in told.pointers)
        )


# Most are rules that JSON Schema cannot tell.
EXCUSES = (
    Excuse(
        check="use_after_free",
        operation=".* /v1/api-keys/{id}.*",
        code="",
        reason="DELETE revokes: a revoked key can still be read, and revoked once more",
    ),
    Excuse(code="idempotency.mismatch", reason="an idempotency key goes with one body"),
    Excuse(code="credential.ambiguous", reason="two tokens that differ are no credential"),
    Excuse(code="version.moved", reason="If-Match may name another version than there is"),
    Excuse(
        code="request.malformed",
        detail="If-(Match takes ETags|None-Match takes).*",
        reason="Schemathesis makes up If-Match by itself and takes no pattern for it",
    ),
    Excuse(pointer="/cursor", reason="a cursor is opaque: only the page before gives one"),
    Excuse(
        operation="PATCH .*",
        reason="a change that changes nothing, be it of nulls, is refused",
    ),
    Excuse(
        operation="POST /v1/api-keys",
        pointer="/name|/service|/environment",
        reason="a name that tells a service, or both service and environment, are needed",
    ),
    Excuse(
        operation="(PUT|POST) /v1/.*",
        pointer="/slot|/environment",
        reason="the environment operator is reserved",
    ),
    Excuse(
        operation="(POST|PATCH) /v1/api-keys.*",
        pointer="/expires_at",
        reason="an expiry lies in the future and after not_before",
    ),
    Excuse(
        operation="(POST|PATCH) /v1/api-keys.*",
        pointer="/metadata",
        reason="metadata have at most 4 KiB, 16 levels, and no NUL",
    ),
    Excuse(
        operation="(PUT|POST|PATCH) /v1/.*",
        pointer="/(runbook_url|found_url)",
        reason="no pattern tells what is an IPv6 address in brackets",
    ),
    Excuse(
        operation="(PUT|POST|PATCH) /v1/.*",
        pointer="/runtimes|/networks",
        reason="a runtime or a network of one name stands once",
    ),
    Excuse(
        pointer="(/rotation_policy)?/rotation_period_days|/rotation_policy/most_at_once"
        "|/rotation_policy/maintenance_windows/[0-9]+/minutes"
        "|/runtimes/[0-9]+/max_call_interval_seconds"
        "|(/rotation_policy)?/(overlap|quiet|brownout|lookback)_seconds|/grace_seconds",
        detail=r"\S+: Input should be a valid integer\.",
        reason="5.0 is an integer to JSON Schema; a strict reader converts nothing",
    ),
    Excuse(
        operation="GET .*/usage",
        pointer="/since|/bucket",
        reason="since lies before until, and there are not too many buckets between them",
    ),
    Excuse(code="rotation.wider", reason="a key in rotation does no more than its old one"),
    Excuse(
        operation="POST /v1/rotations/{id}/extend",
        pointer="|/deadline|/overlap_seconds",
        reason="one of the two, and later than the present deadline by at most a year",
    ),
    Excuse(
        operation="POST /v1/rotations/{id}/(complete|rollback|runtimes)",
        pointer="/reason",
        reason="whoever goes past what is known says why",
    ),
    Excuse(
        operation="POST /v1/rotations/{id}/(complete|runtimes)",
        pointer="/runtime|/waive",
        reason="only a runtime of the evidence is spoken of",
    ),
    Excuse(
        operation="POST /v1/rotations/{id}/runtimes",
        pointer="/network",
        reason="one that the runtime was seen from, and named for an intruder who shares a name",
    ),
    Excuse(
        operation="POST /v1/api-keys",
        pointer="/replaces",
        reason="a key replaces one of its own slot",
    ),
    Excuse(code="incident.no_key", reason="only what is a key can be contained"),
    Excuse(
        operation="POST /v1/incidents",
        pointer="|/select(/.*)?|/key_ids/[0-9]+|/dry_run|/expected_count|/exposed_since",
        reason="keys are told in exactly one way, and were exposed before now",
    ),
    Excuse(
        operation="POST /v1/incidents/{id}/replacements",
        pointer="/key_ids/[0-9]+",
        reason="what is replaced is a key of the incident",
    ),
    Excuse(
        operation="POST /v1/incidents/{id}/close",
        pointer="/waive/[0-9]+/(key_id|until)",
        reason="a key of the incident is waived, until a time that is to come",
    ),
    *(
        Excuse(
            check=check,
            operation="POST /v1/verify",
            code="freshness_lost",
            reason=f"a position of the log may be asked for that it has not come to ({check})",
        )
        for check in (REJECTED, "not_a_server_error")
    ),
    Excuse(
        check="negative_data_rejection",
        code="request.too_large",
        reason="a body over 1 MiB is refused for its size, before it is read",
    ),
    Excuse(
        operation="POST /v1/posture/waivers",
        pointer="/until|/slot|/key_id",
        reason="a waiver ends later than now, within the longest time, and is of a key or a slot",
    ),
    Excuse(
        operation="GET /v1/posture/evidence",
        pointer="/from|/to",
        reason="a period begins before it ends, and not in the future",
    ),
    Excuse(
        operation="POST /v1/channels",
        pointer="|/kind|/url|/addresses",
        reason="a webhook has an address and mail has others, which needs a server; https alone; "
        "and a workspace has at most 50",
    ),
    Excuse(
        operation="PATCH /v1/channels/{id}",
        pointer="/url|/addresses",
        reason="a channel of one kind has nothing of the other; https alone",
    ),
    Excuse(
        operation="(PUT|POST|PATCH) /v1/.*",
        pointer="/(destinations|deliver_to)/[0-9]+",
        detail=r"There is no destination [a-z0-9-]+(: make it first, .*)?\.",
        reason="a destination is there before it is named",
    ),
    Excuse(
        operation="(POST|PATCH) /v1/destinations.*",
        pointer="(?s:/config/.*|/credential(/.*)?)",  # made-up names have any characters
        reason="each kind of destination has its own members, and takes no others",
    ),
    Excuse(
        pointer="/created_by|/key_id|/channel_id",
        reason="22 characters may spell more than 128 bits",
    ),
)


def is_excused(told: Told) -> bool:
    return any(one.covers(told) for one in EXCUSES)
