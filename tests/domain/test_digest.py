"""The digest: bound to its row, testable only with the pepper, and the peppers stay inside."""

import copy
import json
import pickle
import threading
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keyturn.domain.digest import PepperRing
from keyturn.domain.error import StorageUnavailable
from tests.domain import spec
from tests.domain.samples import ids

ONE, TWO = b"\x11" * 32, b"\x22" * 32
RING = PepperRing({1: ONE, 2: TWO}, 2)
secrets = st.binary(min_size=43, max_size=43)


@given(ids, ids, secrets)
def test_the_secret_that_a_digest_is_made_of_matches(
    workspace_id: UUID, id_: UUID, secret: bytes
) -> None:
    digest, peppers = RING.make(workspace_id=workspace_id, id=id_, secret=secret)
    assert peppers == "2"
    assert digest == spec.digest({"2": TWO}, "2", workspace_id.bytes, id_.bytes, secret)
    assert RING.matches(digest, peppers, workspace_id=workspace_id, id=id_, secret=secret)


@given(ids, ids, secrets, ids, ids, secrets)
def test_a_digest_fits_no_other_secret_and_no_other_row(
    workspace_id: UUID, id_: UUID, secret: bytes, other_workspace: UUID, other: UUID, wrong: bytes
) -> None:
    digest, peppers = RING.make(workspace_id=workspace_id, id=id_, secret=secret)
    asked = (other_workspace, other, wrong)
    assume(asked != (workspace_id, id_, secret))
    found = RING.matches(digest, peppers, workspace_id=asked[0], id=asked[1], secret=asked[2])
    assert not found


def test_swapped_ids_make_another_digest() -> None:
    first, second = UUID(int=1), UUID(int=2)
    here, peppers = RING.make(workspace_id=first, id=second, secret=b"s" * 43)
    assert not RING.matches(here, peppers, workspace_id=second, id=first, secret=b"s" * 43)


@given(st.lists(st.sampled_from(["1", "2"]), min_size=1, max_size=4))
def test_wrapping_needs_every_pepper_in_its_order(versions: list[str]) -> None:
    ids_ = {"workspace_id": UUID(int=1), "id": UUID(int=2)}
    applied = "+".join(versions)
    stored = spec.digest(
        {"1": ONE, "2": TWO}, applied, UUID(int=1).bytes, UUID(int=2).bytes, b"s" * 43
    )
    assert RING.matches(stored, applied, secret=b"s" * 43, **ids_)
    if versions != versions[::-1]:
        assert not RING.matches(stored, "+".join(versions[::-1]), secret=b"s" * 43, **ids_)
    if "1" in versions:
        without = PepperRing({2: TWO}, 2)
        with pytest.raises(StorageUnavailable, match="lacks pepper 1"):
            without.matches(stored, applied, secret=b"s" * 43, **ids_)


@given(ids, ids, secrets, st.integers(2, 4))
def test_a_wrapped_digest_fits_the_same_secret_and_no_ring_without_each_pepper(
    workspace_id: UUID, id_: UUID, secret: bytes, newest: int
) -> None:
    peppers = {version: bytes([version]) * 32 for version in range(1, newest + 1)}
    row = {"workspace_id": workspace_id, "id": id_}
    stored, applied = PepperRing({1: peppers[1]}, 1).make(**row, secret=secret)
    for version in range(2, newest + 1):
        held = {one: pepper for one, pepper in peppers.items() if one <= version}
        wrapped = PepperRing(held, version).wrap(stored, applied, **row)
        assert wrapped is not None
        assert wrapped[1] == f"{applied}+{version}"
        stored, applied = wrapped
    assert PepperRing(peppers, newest).matches(stored, applied, **row, secret=secret)
    for missing in peppers:
        rest = {version: one for version, one in peppers.items() if version != missing}
        lacking = PepperRing(rest, max(rest))
        with pytest.raises(StorageUnavailable, match=f"lacks pepper {missing}"):
            lacking.matches(stored, applied, **row, secret=secret)


@pytest.mark.parametrize("applied", ["", "2", "1+2", "1+3", "3"])
def test_what_stands_under_the_current_pepper_or_has_no_secret_is_not_wrapped(applied: str) -> None:
    row = {"workspace_id": UUID(int=1), "id": UUID(int=2)}
    assert RING.wrap(b"d" * 32, applied, **row) is None


def test_a_ring_asks_for_a_pepper_that_it_lacks_and_keeps_what_it_has() -> None:
    kept = {1: ONE}
    asked = []

    def reread() -> dict[int, bytes]:
        asked.append(len(kept))
        return dict(kept)

    ring = PepperRing(kept, 1, reread)
    row = {"workspace_id": UUID(int=1), "id": UUID(int=2)}
    stored, applied = RING.make(**row, secret=b"s" * 43)
    with pytest.raises(StorageUnavailable, match="lacks pepper 2"):
        ring.matches(stored, applied, **row, secret=b"s" * 43)
    kept.update({1: b"other".ljust(32), 2: TWO})
    assert ring.matches(stored, applied, **row, secret=b"s" * 43)
    asked.clear()
    old = PepperRing({1: ONE}, 1).make(**row, secret=b"s" * 43)
    assert ring.matches(old[0], old[1], **row, secret=b"s" * 43), (
        "what a ring has is never replaced"
    )
    assert ring.matches(stored, applied, **row, secret=b"s" * 43)
    assert not asked, "what it has is not asked for"
    assert (ring.versions, ring.current) == ((1, 2), 1)


def test_the_current_pepper_rises_and_never_falls() -> None:
    ring = PepperRing({1: ONE, 2: TWO}, 1)
    with pytest.raises(ValueError, match="not in the ring"):
        ring.advance(3)
    assert ring.current == 1
    ring.advance(2)
    ring.advance(1)
    assert ring.current == 2


class Slow(int):
    """A version that lets something happen while it is compared for the first time."""

    meanwhile: Callable[[], None] | None = None

    def __gt__(self, other: int) -> bool:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return int(self) > other


def test_of_two_threads_that_advance_at_once_neither_takes_the_pepper_back() -> None:
    ring = PepperRing({1: ONE, 2: TWO, 3: TWO}, 1)
    slow = Slow(2)

    def meanwhile() -> None:
        other = threading.Thread(target=ring.advance, args=(3,))
        other.start()
        other.join()

    slow.meanwhile = meanwhile
    ring.advance(slow)
    assert ring.current == 3


def test_fingerprints_tell_peppers_apart_and_give_none_away() -> None:
    assert RING.fingerprint(1) != RING.fingerprint(2)
    assert RING.fingerprint(3) is None
    assert len(str(RING.fingerprint(1))) == 16
    assert ONE.hex()[:8] not in str(RING.fingerprint(1))


@given(st.text(max_size=8) | st.from_regex(r"[1-8]{1,3}(\+[1-8])*", fullmatch=True))
def test_a_row_that_names_no_pepper_of_the_ring_matches_nothing(peppers: str) -> None:
    without = PepperRing({9: ONE}, 9)
    row = {"workspace_id": UUID(int=1), "id": UUID(int=2)}
    with suppress(StorageUnavailable):
        assert not without.matches(bytes(32), peppers, **row, secret=b"s")


@pytest.mark.parametrize("stored", [b"", b"\0", bytes(31), bytes(33), b"\xff" * 32])
def test_a_damaged_digest_matches_nothing(stored: bytes) -> None:
    ids_ = {"workspace_id": UUID(int=1), "id": UUID(int=2)}
    assert not RING.matches(stored, "1", secret=b"s" * 43, **ids_)


def test_an_unknown_id_costs_work_and_tells_nothing() -> None:
    assert RING.spend(b"s" * 43) is None  # type: ignore[func-returns-value]


def test_a_ring_has_its_current_pepper_and_peppers_of_32_bytes() -> None:
    with pytest.raises(ValueError, match="current pepper"):
        PepperRing({1: ONE}, 2)
    with pytest.raises(ValueError, match="32 bytes"):
        PepperRing({1: ONE, 2: b"short"}, 1)


# --- hygiene --------------------------------------------------------------------------------------

RECOGNISABLE = PepperRing({1: b"PEPPERPEPPERPEPPERPEPPERPEPPER!!"}, 1)


def test_no_way_of_printing_shows_a_pepper() -> None:
    shown = [repr(RECOGNISABLE), str(RECOGNISABLE), f"{RECOGNISABLE}", repr([RECOGNISABLE])]
    shown.append(json.dumps(RECOGNISABLE, default=str))
    assert not any("PEPPER" in text for text in shown)
    assert "versions=[1] current=1" in repr(RECOGNISABLE)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_ring_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(RECOGNISABLE, protocol)


def test_a_ring_cannot_be_copied_and_is_no_json() -> None:
    with pytest.raises(TypeError):
        copy.copy(RECOGNISABLE)
    with pytest.raises(TypeError):
        copy.deepcopy(RECOGNISABLE)
    with pytest.raises(TypeError):
        json.dumps(RECOGNISABLE)
    with pytest.raises(TypeError):
        vars(RECOGNISABLE)
