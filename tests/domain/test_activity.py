"""The activity log: no entry can be edited, removed, moved, cut off or blanked too early unseen."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keyturn.domain.activity import (
    GENESIS,
    SYSTEM,
    ActivityStatus,
    Actor,
    ActorType,
    Category,
    Entry,
    chain,
)
from tests.domain.samples import NOW, sample_id

ENTRY = Entry(
    id=sample_id(1),
    workspace_id=sample_id(2),
    actor=Actor(type=ActorType.USER, id=sample_id(3), label="anna"),
    action="key.created",
    category=Category.SECURITY,
    resource_type="api_key",
    resource_id=str(sample_id(4)),
    resource_version=1,
    status=ActivityStatus.SUCCESS,
    message="A key was made.",
    metadata={"scopes": ["read"], "n": 1},
    request_id="r-1",
    retention_days=400,
    created_at=NOW,
    expires_at=NOW + 400,
    position=7,
)


class Row(NamedTuple):
    """An entry as a database keeps it; `entry` is None once its content has gone."""

    number: int
    expires_at: int
    content_hash: bytes
    hash: bytes
    entry: Entry | None


def log(count: int) -> list[Row]:
    rows: list[Row] = []
    hash_ = GENESIS
    for number in range(1, count + 1):
        entry = replace(ENTRY, id=UUID(int=number), expires_at=NOW + number)
        content_hash = entry.content_hash()
        hash_ = chain(hash_, number, entry.expires_at, content_hash)
        rows.append(Row(number, entry.expires_at, content_hash, hash_, entry))
    return rows


def holds(rows: Sequence[Row], *, head: tuple[int, bytes], now: int) -> bool:
    """What an auditor can do with the rules of the chain and a head that he trusts."""
    hash_ = GENESIS
    for number, row in enumerate(rows, start=1):
        if row.number != number:
            return False
        if row.entry is None:
            if now < row.expires_at:
                return False
        elif (row.entry.content_hash(), row.entry.expires_at) != (row.content_hash, row.expires_at):
            return False
        hash_ = chain(hash_, row.number, row.expires_at, row.content_hash)
        if hash_ != row.hash:
            return False
    return (len(rows), hash_) == head


ROWS = log(12)
HEAD = (12, ROWS[-1].hash)
places = st.integers(0, len(ROWS) - 1)


def spoiled(rows: Sequence[Row]) -> bool:
    return not holds(rows, head=HEAD, now=NOW)


def rehashed(rows: Sequence[Row]) -> list[Row]:
    """What a thief of the database does after an edit: all hashes made anew, from genesis on."""
    made: list[Row] = []
    hash_ = GENESIS
    for number, row in enumerate(rows, start=1):
        hash_ = chain(hash_, number, row.expires_at, row.content_hash)
        made.append(row._replace(number=number, hash=hash_))
    return made


def test_an_untouched_log_holds() -> None:
    assert holds(ROWS, head=HEAD, now=NOW)


def test_content_that_went_in_its_time_leaves_the_chain_whole() -> None:
    rows = [row._replace(entry=None) if row.expires_at <= NOW + 5 else row for row in ROWS]
    assert holds(rows, head=HEAD, now=NOW + 5)


@given(places)
def test_content_that_went_before_its_time_is_seen(place: int) -> None:
    rows = list(ROWS)
    rows[place] = rows[place]._replace(entry=None)
    assert spoiled(rows)
    # To move the expiry back as well, the chain would have to be made anew.
    rows[place] = rows[place]._replace(expires_at=NOW)
    assert spoiled(rows)
    assert spoiled(rehashed(rows))


CHANGES: dict[str, Callable[[Entry], Entry]] = {
    "id": lambda entry: replace(entry, id=UUID(int=99)),
    "workspace_id": lambda entry: replace(entry, workspace_id=None),
    "actor": lambda entry: replace(
        entry, actor=Actor(type=ActorType.USER, id=sample_id(3), label="bert")
    ),
    "action": lambda entry: replace(entry, action="key.revoked"),
    "category": lambda entry: replace(entry, category=Category.INTEGRATION),
    "resource_type": lambda entry: replace(entry, resource_type="slot"),
    "resource_id": lambda entry: replace(entry, resource_id="x"),
    "resource_version": lambda entry: replace(entry, resource_version=None),
    "status": lambda entry: replace(entry, status=ActivityStatus.FAILED),
    "message": lambda entry: replace(entry, message="A key was made!"),
    "metadata": lambda entry: replace(entry, metadata={"scopes": ["write"], "n": 1}),
    "request_id": lambda entry: replace(entry, request_id=None),
    "retention_days": lambda entry: replace(entry, retention_days=401),
    "created_at": lambda entry: replace(entry, created_at=NOW + 1),
    "expires_at": lambda entry: replace(entry, expires_at=NOW + 99),
    "position": lambda entry: replace(entry, position=None),
}


def test_every_member_of_an_entry_is_tried() -> None:
    assert set(CHANGES) == {field.name for field in fields(Entry)}


@pytest.mark.parametrize("member", sorted(CHANGES))
def test_an_edit_of_any_member_is_seen(member: str) -> None:
    assert ENTRY.content_hash() != CHANGES[member](ENTRY).content_hash()
    rows = list(ROWS)
    entry = rows[4].entry
    assert entry is not None
    edited = CHANGES[member](entry)
    rows[4] = rows[4]._replace(entry=edited)
    assert spoiled(rows)
    rows[4] = rows[4]._replace(content_hash=edited.content_hash(), expires_at=edited.expires_at)
    assert spoiled(rows)
    assert spoiled(rehashed(rows))


@pytest.mark.parametrize(
    "actor",
    [
        Actor(type=ActorType.API_KEY, id=sample_id(3), label="anna"),
        Actor(type=ActorType.USER, id=sample_id(4), label="anna"),
        Actor(type=ActorType.USER, id=None, label="anna"),
        SYSTEM,
    ],
)
def test_an_edit_of_who_it_was_is_seen(actor: Actor) -> None:
    assert ENTRY.content_hash() != replace(ENTRY, actor=actor).content_hash()


@given(places)
def test_a_removed_entry_is_seen(place: int) -> None:
    rows = ROWS[:place] + ROWS[place + 1 :]
    assert spoiled(rows)
    assert spoiled(rehashed(rows))


@given(st.permutations(ROWS))
def test_a_changed_order_is_seen(rows: list[Row]) -> None:
    assume(rows != ROWS)
    assert spoiled(rows)
    assert spoiled(rehashed(rows))


@given(st.integers(0, len(ROWS) - 1))
def test_an_end_that_was_cut_off_is_seen_by_who_knows_the_head(kept: int) -> None:
    assert spoiled(ROWS[:kept])


@given(places)
def test_an_entry_that_was_slipped_in_or_doubled_is_seen(place: int) -> None:
    rows = [*ROWS[:place], ROWS[place], *ROWS[place:]]
    assert spoiled(rows)
    assert spoiled(rehashed(rows))


@given(places, st.integers(0, 255), st.integers(1, 255))
def test_a_flipped_bit_in_a_hash_is_seen(place: int, position: int, flip: int) -> None:
    def flipped(hash_: bytes) -> bytes:
        changed = bytearray(hash_)
        changed[position % 32] ^= flip
        return bytes(changed)

    row = ROWS[place]
    for bad in (
        row._replace(hash=flipped(row.hash)),
        row._replace(content_hash=flipped(row.content_hash)),
        row._replace(content_hash=flipped(row.content_hash), entry=None),
    ):
        assert spoiled([*ROWS[:place], bad, *ROWS[place + 1 :]])


def test_a_content_cannot_pass_for_a_link() -> None:
    """The leading bytes part the two uses of the hash (RFC 9162, 2.1)."""
    link = chain(GENESIS, 1, ENTRY.expires_at, ENTRY.content_hash())
    assert link != chain(GENESIS, 1, ENTRY.expires_at, link)
    assert ENTRY.content_hash() != link


def test_the_order_of_members_makes_no_difference_to_the_content() -> None:
    turned = replace(ENTRY, metadata={"n": 1, "scopes": ["read"]})
    assert turned.content() == ENTRY.content()


@given(st.text())
def test_the_content_is_ascii_whatever_was_said(message: str) -> None:
    content = replace(ENTRY, message=message).content()
    assert content.isascii()
    assert b"\n" not in content


def test_only_a_user_has_a_user_id() -> None:
    assert ENTRY.actor.user_id == sample_id(3)
    assert Actor(type=ActorType.API_KEY, id=sample_id(3), label="k").user_id is None
    assert SYSTEM.user_id is None
