"""The key's state machine: the whole table, and nothing that is not in it."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.error import KeyTerminal
from keyturn.domain.key import (
    TRANSITIONS,
    Key,
    KeyAct,
    KeyState,
    KeyStatus,
    RevocationReason,
)
from tests.domain.samples import NOW, SAMPLE_KEY, sample_id

ACTIVE, SUSPENDED, REVOKED = KeyState
AMEND, SUSPEND, RESUME, REVOKE = KeyAct.AMEND, KeyAct.SUSPEND, KeyAct.RESUME, KeyAct.REVOKE

# Written once more by hand: a change of the machine is a change of two tables.
LEADS_TO: dict[tuple[KeyState, KeyAct], KeyState | None] = {
    (ACTIVE, AMEND): ACTIVE,
    (ACTIVE, SUSPEND): SUSPENDED,
    (ACTIVE, RESUME): ACTIVE,
    (ACTIVE, REVOKE): REVOKED,
    (SUSPENDED, AMEND): SUSPENDED,
    (SUSPENDED, SUSPEND): SUSPENDED,
    (SUSPENDED, RESUME): ACTIVE,
    (SUSPENDED, REVOKE): REVOKED,
    (REVOKED, AMEND): None,
    (REVOKED, SUSPEND): None,
    (REVOKED, RESUME): None,
    (REVOKED, REVOKE): REVOKED,
}
LATER = NOW + 1_000

MOVES: dict[KeyAct, Callable[[Key, int], Key]] = {
    SUSPEND: Key.suspended,
    RESUME: Key.resumed,
    REVOKE: lambda key, now: key.revoked(RevocationReason.OTHER, now),
}


def test_the_table_is_whole() -> None:
    assert set(LEADS_TO) == set(product(KeyState, KeyAct))
    assert {step: to for step, to in LEADS_TO.items() if to is not None} == TRANSITIONS


def test_a_revoked_key_never_lives_again() -> None:
    assert {to for (state, _), to in TRANSITIONS.items() if state is REVOKED} == {REVOKED}


def in_state(state: KeyState, *, expired: bool = False) -> Key:
    return replace(
        SAMPLE_KEY,
        state=state,
        expires_at=LATER if expired else None,
        revoked_at=NOW if state is REVOKED else None,
        revocation_reason=RevocationReason.OTHER if state is REVOKED else None,
    )


@pytest.mark.parametrize("expired", [False, True], ids=["unexpired", "expired"])
@pytest.mark.parametrize("act", list(KeyAct))
@pytest.mark.parametrize("state", list(KeyState))
def test_an_act_leads_where_the_table_says_and_else_changes_nothing(
    state: KeyState, act: KeyAct, expired: bool
) -> None:
    key = in_state(state, expired=expired)
    before = replace(key)
    following = LEADS_TO[state, act]
    if following is None or (expired and act is not REVOKE):
        with pytest.raises(KeyTerminal):
            key.after(act, LATER)
        if act in MOVES:
            with pytest.raises(KeyTerminal):
                MOVES[act](key, LATER)
    else:
        assert key.after(act, LATER) is following
        if act in MOVES:
            assert MOVES[act](key, LATER).state is following
    assert key == before


@pytest.mark.parametrize("act", list(MOVES))
@pytest.mark.parametrize("state", list(KeyState))
def test_the_version_is_raised_exactly_when_something_changed(state: KeyState, act: KeyAct) -> None:
    key = in_state(state)
    if LEADS_TO[state, act] is None:
        return
    moved = MOVES[act](key, LATER)
    if moved.state is key.state:
        assert moved is key
    else:
        assert moved.version == key.version + 1
        assert moved.updated_at == LATER
        unchanged = replace(
            moved,
            state=key.state,
            updated_at=key.updated_at,
            version=key.version,
            revoked_at=key.revoked_at,
            revocation_reason=key.revocation_reason,
        )
        assert unchanged == key


def test_a_refusal_names_the_status() -> None:
    with pytest.raises(KeyTerminal, match="is revoked"):
        in_state(REVOKED).resumed(LATER)
    with pytest.raises(KeyTerminal, match="is expired"):
        in_state(ACTIVE, expired=True).suspended(LATER)


# --- compromised ---------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(st.sampled_from(list(MOVES)), st.sampled_from(list(RevocationReason))), max_size=8
)


@given(steps, st.booleans(), st.sampled_from(list(KeyState)))
def test_compromised_revoked_and_the_version_only_ever_grow(
    acts: list[tuple[KeyAct, RevocationReason]], compromised: bool, state: KeyState
) -> None:
    key = replace(in_state(state), compromised=compromised)
    for number, (act, reason) in enumerate(acts, start=1):
        now = NOW + number
        try:
            moved = key.revoked(reason, now) if act is REVOKE else MOVES[act](key, now)
        except KeyTerminal:
            continue
        assert moved.compromised >= key.compromised
        assert moved.state is REVOKED or key.state is not REVOKED
        assert (moved == key) == (moved.version == key.version)
        assert moved.version - key.version in (0, 1)
        if key.revoked_at is not None:
            assert moved.revoked_at == key.revoked_at
        if act is REVOKE and reason is RevocationReason.COMPROMISED:
            assert moved.compromised
        key = moved


@pytest.mark.parametrize("reason", list(RevocationReason))
def test_a_revocation_says_why_and_when(reason: RevocationReason) -> None:
    key = in_state(ACTIVE).revoked(reason, LATER)
    assert (key.revocation_reason, key.revoked_at, key.state) == (reason, LATER, REVOKED)
    assert key.compromised == (reason is RevocationReason.COMPROMISED)


@pytest.mark.parametrize("reason", list(RevocationReason))
def test_a_revoked_key_may_still_turn_out_compromised_and_nothing_else(
    reason: RevocationReason,
) -> None:
    key = in_state(ACTIVE).revoked(RevocationReason.SUPERSEDED, LATER)
    again = key.revoked(reason, LATER + 1)
    if reason is RevocationReason.COMPROMISED:
        assert again.compromised
        assert (again.revocation_reason, again.revoked_at) == (reason, LATER)
        assert again.version == key.version + 1
        assert again.revoked(RevocationReason.OTHER, LATER + 2) is again
    else:
        assert again is key


# --- expiry --------------------------------------------------------------------------------------


@given(st.sampled_from(list(KeyState)), st.none() | st.integers(), st.integers())
def test_expiry_follows_from_the_clock_alone(
    state: KeyState, expires_at: int | None, now: int
) -> None:
    key = replace(SAMPLE_KEY, state=state, expires_at=expires_at)
    is_expired = expires_at is not None and expires_at <= now
    assert key.is_expired(now) == is_expired
    if state is REVOKED:
        assert key.status(now) is KeyStatus.REVOKED
    elif is_expired:
        assert key.status(now) is KeyStatus.EXPIRED
    else:
        assert key.status(now) == state.value


def test_a_key_lives_until_its_expiry_and_not_in_it() -> None:
    key = replace(SAMPLE_KEY, expires_at=LATER)
    assert key.status(LATER - 1) is KeyStatus.ACTIVE
    assert key.status(LATER) is KeyStatus.EXPIRED


def test_an_expired_key_can_be_revoked_for_good() -> None:
    key = in_state(SUSPENDED, expired=True).revoked(RevocationReason.COMPROMISED, LATER)
    assert key.status(LATER) is KeyStatus.REVOKED
    assert key.compromised


def test_the_hint_is_that_of_the_keys_token() -> None:
    assert SAMPLE_KEY.hint.startswith("kt_prod_")
    assert SAMPLE_KEY.id == sample_id(1)
