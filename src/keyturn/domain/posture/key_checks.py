"""The checks of live keys, one by one. Each is a function from the facts of a key to what is said.

A key that has never been used, or whose calls never said what a check would look at, is unknown to
that check: nothing was seen, which is not the same as nothing wrong.
"""

from collections.abc import Callable, Iterator

from keyturn.domain.evidence import Use, is_registered
from keyturn.domain.instant import DAY, format_instant
from keyturn.domain.permission import Permission
from keyturn.domain.posture.check import Check, CheckId, Known, Result, Said, Subject, SubjectKind
from keyturn.domain.posture.facts import LOOKBACK_DAYS, KeyFacts, Snapshot
from keyturn.domain.runtime import NAMELESS, OTHER
from keyturn.domain.schedule import rotate_by
from keyturn.domain.scope import holds_scope
from keyturn.domain.slot import DEFAULT_ENVIRONMENT

UNUSED_DAYS = 7
IDLE_DAYS = 90
ENDING_DAYS = 14
# A scope that a younger key has not used may still be used for the first time.
SETTLED_DAYS = 30
_MOST_NAMED = 5

_Judged = tuple[Result, str, int | None]
_Judge = Callable[[KeyFacts, Snapshot], _Judged]

_PASS: _Judged = (Result.PASS, "", None)
_DAMAGED: _Judged = (Result.UNKNOWN, "The record of its slot is damaged.", None)
_MEND = "`keyturn slots set {slot} --owner WHO` puts a good record in its place."
_UNSEEN: _Judged = (Result.UNKNOWN, f"No use of it was seen in {LOOKBACK_DAYS} days.", None)


def key_subject(facts: KeyFacts) -> Subject:
    key = facts.key
    return Subject(
        kind=SubjectKind.KEY, id=str(key.id), name=key.name, slot=key.slot, key_id=key.id
    )


def of_keys(
    judge: _Judge, remedy: str, unknown_remedy: str
) -> Callable[[Snapshot], Iterator[Said]]:
    """What `judge` says of each live key, with the remedy spelled for it. What helps against not
    knowing is another: whoever is told to revoke a key must be told so on evidence."""

    def said(snapshot: Snapshot) -> Iterator[Said]:
        for facts in snapshot.keys:
            result, why, since = judge(facts, snapshot)
            key = facts.key
            spelled = remedy if result is Result.FAIL else unknown_remedy
            if facts.notes is None and result is Result.UNKNOWN:
                spelled = _MEND
            yield Said(
                subject=key_subject(facts),
                result=result,
                why=why,
                since=since,
                remedy="" if result is Result.PASS else spelled.format(key=key.id, slot=key.slot),
            )

    return said


def _owned(facts: KeyFacts, _: Snapshot) -> _Judged:
    if facts.notes is None:
        return _DAMAGED
    if facts.notes.owner is None:
        return Result.FAIL, "Nobody is named who answers for it.", facts.key.created_at
    return _PASS


def _runbook(facts: KeyFacts, _: Snapshot) -> _Judged:
    if facts.notes is None:
        return _DAMAGED
    if facts.notes.runbook_url is None:
        return Result.FAIL, "No runbook is named.", facts.key.created_at
    return _PASS


def _named(facts: KeyFacts, _: Snapshot) -> _Judged:
    if facts.key.slot.environment == DEFAULT_ENVIRONMENT:
        return Result.FAIL, "Its name tells no environment.", facts.key.created_at
    return _PASS


def _scheduled(facts: KeyFacts, snapshot: Snapshot) -> _Judged:
    if facts.notes is None:
        return _DAMAGED
    if rotate_by(facts.key, facts.notes, snapshot.policy) is None:
        why = "Neither its slot nor the policy says how often it is rotated."
        return Result.FAIL, why, facts.key.created_at
    return _PASS


def _rotated(facts: KeyFacts, snapshot: Snapshot) -> _Judged:
    if facts.notes is None:
        return _DAMAGED
    due = rotate_by(facts.key, facts.notes, snapshot.policy)
    if due is None:
        return Result.UNKNOWN, "No rotation date is known for it.", None
    if snapshot.now >= due:
        return Result.FAIL, f"It was to be rotated by {format_instant(due)}.", due
    return _PASS


def _lasting(facts: KeyFacts, snapshot: Snapshot) -> _Judged:
    ends = facts.key.expires_at
    if ends is None or facts.is_rotating or ends - facts.key.created_at <= ENDING_DAYS * DAY:
        return _PASS
    warned = ends - ENDING_DAYS * DAY
    if snapshot.now >= warned:
        why = f"It ends by itself at {format_instant(ends)}, and no rotation of it is open."
        return Result.FAIL, why, warned
    return _PASS


def _used(facts: KeyFacts, snapshot: Snapshot) -> _Judged:
    late = facts.key.created_at + UNUSED_DAYS * DAY
    if facts.last_used_at is not None or snapshot.now < late:
        return _PASS
    return Result.FAIL, "It was never used.", facts.key.created_at


def _awake(facts: KeyFacts, snapshot: Snapshot) -> _Judged:
    last = facts.last_used_at
    if last is None:
        return _PASS if snapshot.now < facts.key.created_at + UNUSED_DAYS * DAY else _UNSEEN
    if snapshot.now - last > IDLE_DAYS * DAY:
        return Result.FAIL, f"It was last used at {format_instant(last)}.", last
    return _PASS


def _recent(facts: KeyFacts, snapshot: Snapshot) -> list[Use]:
    since = snapshot.now - LOOKBACK_DAYS * DAY
    return [one for one in facts.uses if one.last_seen_at is not None and one.last_seen_at >= since]


def _separate(facts: KeyFacts, snapshot: Snapshot) -> _Judged:
    recent = _recent(facts, snapshot)
    if not recent:
        return _UNSEEN
    if facts.notes is None:
        return _DAMAGED
    expected = {one.name: None for one in facts.notes.runtimes or ()}
    seen = {(one.runtime, one.declared) for one in recent}
    strange = sorted({one[0] for one in seen if not is_registered(one, expected)})
    if len(seen) > 1 and strange:
        since = min(
            one.first_seen_at or 0
            for one in recent
            if not is_registered((one.runtime, one.declared), expected)
        )
        more = " and more than are told apart" if OTHER in strange else ""
        why = f"{len(seen)} runtimes use it, {len(strange)} of them not declared: {_few(strange)}"
        return Result.FAIL, f"{why}{more}.", since
    if all(_is_nameless(one) for one in recent):
        return Result.UNKNOWN, "No call with it said who the caller is.", None
    return _PASS


def _is_nameless(use: Use) -> bool:
    return not use.declared and use.runtime.partition("@")[0] == NAMELESS


def _scopes(facts: KeyFacts, snapshot: Snapshot) -> _Judged:
    granted = facts.key.scopes
    if not granted:
        return _PASS
    traffic = facts.traffic
    if traffic is None:
        return _UNSEEN
    asked = traffic.scopes
    unused = [one for one in granted if not any(holds_scope((one,), word) for word in asked)]
    if not unused:
        return _PASS
    if not traffic.scopes:
        return Result.UNKNOWN, "No call with it said which scopes it needs.", None
    if traffic.is_cut:
        return Result.UNKNOWN, "Its calls asked for more scopes than are told apart.", None
    if snapshot.now < facts.key.created_at + SETTLED_DAYS * DAY:
        return Result.UNKNOWN, f"It is younger than {SETTLED_DAYS} days.", None
    return Result.FAIL, f"Granted and not used: {_few(unused)}.", facts.key.created_at


def _permissions(facts: KeyFacts, snapshot: Snapshot) -> _Judged:
    """Calls to `/v1/verify` are recorded under the key that is verified, so a key that does
    nothing else has no calls of its own."""
    wider = [one for one in facts.key.permissions if one.partition("@")[0] != Permission.VERIFY]
    if not wider:
        return _PASS
    traffic = facts.traffic
    if traffic is not None and traffic.wrote_at is not None:
        return _PASS
    if traffic is not None and traffic.are_paths_cut:
        return Result.UNKNOWN, "It called more paths than are told apart.", None
    if snapshot.now < facts.key.created_at + SETTLED_DAYS * DAY:
        return Result.UNKNOWN, f"It is younger than {SETTLED_DAYS} days.", None
    writing = [one for one in wider if not one.partition("@")[0].endswith(":read")]
    if traffic is not None and traffic.read_at is not None:
        if not writing:
            return _PASS
        why = f"It may change things ({_few(writing)}), and only read in {LOOKBACK_DAYS} days."
        return Result.FAIL, why, facts.key.created_at
    why = f"It may do more than verify ({_few(wider)}), and did not in {LOOKBACK_DAYS} days."
    return Result.FAIL, why, facts.key.created_at


def _networks(facts: KeyFacts, _: Snapshot) -> _Judged:
    if not facts.key.allowed_cidrs:
        return Result.FAIL, "It may be used from any network.", facts.key.created_at
    return _PASS


def _backend_only(facts: KeyFacts, _: Snapshot) -> _Judged:
    traffic = facts.traffic
    if traffic is None:
        return _UNSEEN
    if traffic.browsers:
        signs = sorted(traffic.browsers)
        last = max(traffic.browsers.values())
        return Result.FAIL, f"A browser called with it ({_few(signs)}), last at this time.", last
    if not traffic.with_agent:
        return Result.UNKNOWN, "No call with it said what the caller is.", None
    return _PASS


def _one_environment(facts: KeyFacts, snapshot: Snapshot) -> _Judged:
    recent = _recent(facts, snapshot)
    if not recent:
        return _UNSEEN
    seen = {one.environment: one for one in recent if one.environment is not None}
    if not seen:
        return Result.UNKNOWN, "No call with it said its environment.", None
    others = sorted(set(seen) - {facts.key.slot.environment})
    if len(seen) > 1 or others:
        since = min(seen[one].first_seen_at or 0 for one in others)
        where = f"It is of {facts.key.slot.environment}, and was used in {_few(others)}."
        return Result.FAIL, where, since
    silent = sorted({one.runtime for one in recent if one.environment is None})
    if silent:
        return Result.UNKNOWN, f"Not every call said its environment: {_few(silent)}.", None
    return _PASS


def _few(names: list[str]) -> str:
    told = ", ".join(names[:_MOST_NAMED])
    return told if len(names) <= _MOST_NAMED else f"{told} and {len(names) - _MOST_NAMED} more"


def _check(
    id_: CheckId,
    line: str,
    known: Known,
    judge: _Judge,
    remedy: str,
    terms: dict[str, int] | None = None,
    *,
    unknown: str = "See what it is used for: `keyturn usage {key}`.",
    counts_days: bool = False,
) -> Check:
    return Check(
        id=id_,
        line=line,
        known=known,
        judge=of_keys(judge, remedy, unknown),
        remedy=remedy.format(key="KEY", slot="SLOT"),
        terms=terms or {},
        counts_days=counts_days,
        records="key",
    )


_LOOKBACK = {"lookback_days": LOOKBACK_DAYS}
_SAY = (
    "Have each use of it say `{member}` to `/v1/verify`; `keyturn requests list --key {{key}}` "
    "shows what was said."
)

KEY_CHECKS = (
    _check(
        CheckId.SEPARATE,
        "Separate keys per backend service, instead of one shared key.",
        Known.MEASURED,
        _separate,
        "Give each service its own key, `keyturn keys create NAME`; or say who belongs to this "
        "one: `keyturn keys update {key} --runtime NAME`.",
        _LOOKBACK,
        unknown=_SAY.format(member="runtime"),
    ),
    _check(
        CheckId.NAMED,
        "Name keys by service and environment.",
        Known.DECLARED,
        _named,
        "Make one that is named so, and retire this: `keyturn keys create NAME-prod "
        "--replaces {key}`.",
    ),
    _check(
        CheckId.OWNED,
        "Document the owner in the runbook.",
        Known.DECLARED,
        _owned,
        "`keyturn keys update {key} --owner WHO`",
    ),
    _check(
        CheckId.RUNBOOK,
        "Document keys in a runbook.",
        Known.DECLARED,
        _runbook,
        "`keyturn keys update {key} --runbook URL`",
    ),
    _check(
        CheckId.SCHEDULED,
        "Document the rotation date in the runbook.",
        Known.DECLARED,
        _scheduled,
        "`keyturn keys update {key} --rotation-days 90`",
    ),
    _check(
        CheckId.ROTATED,
        "Rotate on schedule.",
        Known.MEASURED,
        _rotated,
        "`keyturn rotations start {slot}`",
        counts_days=True,
        unknown="`keyturn keys update {key} --rotation-days 90`",
    ),
    _check(
        CheckId.LASTING,
        "Rotate before a key ends by itself.",
        Known.MEASURED,
        _lasting,
        "`keyturn rotations start {slot}`",
        {"days_ahead": ENDING_DAYS},
        counts_days=True,
    ),
    _check(
        CheckId.USED,
        "Revoke keys that nobody needs: never used.",
        Known.MEASURED,
        _used,
        "`keyturn keys revoke {key} --reason unused`",
        {"older_than_days": UNUSED_DAYS},
        counts_days=True,
    ),
    _check(
        CheckId.AWAKE,
        "Revoke keys that nobody needs: idle.",
        Known.MEASURED,
        _awake,
        "See what would break, `keyturn keys impact {key}`, and `keyturn keys revoke {key} "
        "--reason unused`.",
        {"idle_days": IDLE_DAYS},
        counts_days=True,
    ),
    _check(
        CheckId.SCOPES,
        "Grant a key only the scopes that its service uses.",
        Known.MEASURED,
        _scopes,
        "Grant what it uses alone: `keyturn keys update {key} --scope WORD`.",
        _LOOKBACK | {"settled_days": SETTLED_DAYS},
        counts_days=True,
        unknown=_SAY.format(member="scopes"),
    ),
    _check(
        CheckId.PERMISSIONS,
        "Grant a key only the permissions that its service uses.",
        Known.MEASURED,
        _permissions,
        "`keyturn keys update {key} --permission verify`",
        _LOOKBACK | {"settled_days": SETTLED_DAYS},
        counts_days=True,
    ),
    _check(
        CheckId.NETWORKS,
        "Treat keys like production credentials: limit where they work.",
        Known.MEASURED,
        _networks,
        "`keyturn keys update {key} --cidr BLOCK`",
    ),
    _check(
        CheckId.BACKEND_ONLY,
        "Never ship keys in frontend bundles or client apps.",
        Known.MEASURED,
        _backend_only,
        "It is public by now: `keyturn keys revoke {key} --reason compromised`.",
        _LOOKBACK,
        unknown=_SAY.format(member="headers"),
    ),
    _check(
        CheckId.ONE_ENVIRONMENT,
        "Separate keys per environment.",
        Known.MEASURED,
        _one_environment,
        "Give each environment its own key, and rotate this one: `keyturn rotations start {slot}`.",
        _LOOKBACK,
        unknown=_SAY.format(member="environment"),
    ),
)
