"""The cache: bounded, and never older than what its records lean on."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from keyturn.verifier import Kept, id_of
from keyturn.verifier.cache import Cache, Id

TENANTS = [str(UUID(int=100 + number)) for number in range(3)]


def kept(
    record: str | None = "record", position: int = 1, tenant: str = TENANTS[0], until: float = 1.0
) -> Kept[str]:
    leans_on = (("workspace", tenant), ("slot", f"{tenant}/billing-prod"))
    return Kept(record, position=position, kept_until=until, leans_on=leans_on)


def key(number: int) -> Id:
    return id_of("key", UUID(int=number))


def test_a_change_of_the_workspace_lets_go_of_all_that_lean_on_it() -> None:
    cache: Cache[str] = Cache(10)
    cache.put(key(1), kept())
    cache.put(key(2), kept(tenant=TENANTS[1]))
    cache.touch((("workspace", TENANTS[0]),), 2)
    assert cache.get(key(1), 0.0) is None
    assert cache.get(key(2), 0.0) is not None
    cache.touch((("slot", f"{TENANTS[1]}/billing-prod"),), 3)
    assert cache.get(key(2), 0.0) is None


def test_what_was_read_after_the_change_stays() -> None:
    cache: Cache[str] = Cache(10)
    cache.touch((("workspace", TENANTS[0]),), 2)
    cache.put(key(1), kept(position=2))
    assert cache.get(key(1), 0.0) is not None


def test_made_up_ids_push_out_only_each_other() -> None:
    cache: Cache[str] = Cache(80)
    for number in range(80):
        cache.put(key(number), kept())
    for number in range(1_000, 2_000):
        cache.put(key(number), kept(None))
    assert all(cache.get(key(number), 0.0) for number in range(80))
    assert len(cache) == 90


def test_the_first_in_is_the_first_out() -> None:
    cache: Cache[str] = Cache(3)
    for number in (1, 2, 3, 1, 4):
        cache.put(key(number), kept())
    assert [number for number in (1, 2, 3, 4) if cache.get(key(number), 0.0)] == [1, 3, 4]


def test_a_key_that_is_made_is_not_unknown_any_more() -> None:
    cache: Cache[str] = Cache(10)
    cache.put(key(1), kept(None))
    cache.put(key(1), kept())
    cache.put(key(2), kept())
    cache.put(key(2), kept(None))
    first, second = cache.get(key(1), 0.0), cache.get(key(2), 0.0)
    assert first is not None
    assert first.record == "record"
    assert second is not None
    assert second.record is None
    assert len(cache) == 2


def test_too_many_touched_workspaces_let_everything_go() -> None:
    cache: Cache[str] = Cache(10, most_touched=2)
    cache.put(key(1), kept(tenant="another"))
    for position, tenant in enumerate(TENANTS, start=2):
        cache.touch((("workspace", tenant),), position)
    assert len(cache) == 0


def test_kinds_whose_refs_are_no_ids_touch_nothing() -> None:
    cache: Cache[str] = Cache(10)
    cache.put(key(1), kept())
    cache.touch((("posture_waiver", "K1/billing-prod"),), 2)
    assert cache.get(key(1), 0.0) is not None


def test_an_entry_never_shows_its_record() -> None:
    assert "record" not in repr(kept())


acts = st.lists(
    st.tuples(st.just("put"), st.integers(0, 5), st.integers(0, 2))
    | st.tuples(st.just("key"), st.integers(0, 5), st.just(0))
    | st.tuples(st.just("workspace"), st.just(0), st.integers(0, 2))
    | st.tuples(st.just("all"), st.just(0), st.just(0)),
    max_size=40,
)


@given(acts, st.integers(1, 4))
def test_what_is_found_was_read_after_every_change_that_it_rests_on(
    made: list[tuple[str, int, int]], most_touched: int
) -> None:
    cache: Cache[str] = Cache(4, most_touched=most_touched)
    read: dict[int, tuple[int, int]] = {}
    keys: dict[int, int] = {}
    tenants: dict[int, int] = {}
    everything = 0
    for position, (act, number, tenant) in enumerate(made, start=1):
        if act == "put":
            cache.put(key(number), kept(position=position, tenant=TENANTS[tenant]))
            read[number] = position, tenant
        elif act == "key":
            cache.touch((("key", str(UUID(int=number))),), position)
            keys[number] = position
        elif act == "workspace":
            cache.touch((("workspace", TENANTS[tenant]),), position)
            tenants[tenant] = position
        else:
            cache.touch(None, position)
            everything = position
        assert len(cache) <= 4
        for one, (at, of) in read.items():
            if cache.get(key(one), 0.0) is not None:
                assert at >= max(keys.get(one, 0), tenants.get(of, 0), everything)
