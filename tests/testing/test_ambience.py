"""The clock and the chance of tests: under control, and the same each time."""

from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.ambience import Clock, Entropy
from keyturn.testing import FakeClock, SeededEntropy


def test_a_fake_clock_moves_only_when_told() -> None:
    clock: Clock = (fake := FakeClock(1_000_000))
    assert (clock.now(), clock.elapsed()) == (1_000_000, 0.0)
    fake.advance(2_500_000)
    assert (clock.now(), clock.elapsed()) == (3_500_000, 2.5)


@given(st.integers(-(10**12), 10**12))
def test_a_jump_of_the_wall_clock_leaves_the_other_alone(micros: int) -> None:
    clock = FakeClock(0)
    clock.jump(micros)
    assert (clock.now(), clock.elapsed()) == (micros, 0.0)


@given(st.integers(), st.lists(st.integers(0, 64), max_size=5))
def test_the_same_seed_gives_the_same_bytes(seed: int, sizes: list[int]) -> None:
    first: Entropy = SeededEntropy(seed)
    second: Entropy = SeededEntropy(seed)
    taken = [first.take(size) for size in sizes]
    assert taken == [second.take(size) for size in sizes]
    assert list(map(len, taken)) == sizes


def test_no_two_takes_and_no_two_seeds_are_alike() -> None:
    entropy, other = SeededEntropy(1), SeededEntropy(2)
    taken = {source.take(32) for _ in range(100) for source in (entropy, other)}
    assert len(taken) == 200


@given(st.integers(0, 10**6), st.integers(0, 10**9))
def test_a_sleep_of_the_machine_is_counted_by_the_clock_of_leases_alone(
    seconds: int, micros: int
) -> None:
    clock = FakeClock(0)
    clock.advance(micros)
    clock.suspend(seconds)
    assert clock.elapsed() == micros / 1_000_000
    assert clock.boot() == clock.elapsed() + seconds
    assert clock.now() == micros + seconds * 1_000_000
