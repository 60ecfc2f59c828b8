"""A key source always has the token that stands in its place now, and a place that is down, or half
written, harms no call."""

import logging
import multiprocessing
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from keyturn import KeySource
from keyturn.client import ConfigurationFault, SourceFault
from keyturn.domain.redaction import holds_shape
from keyturn.domain.token import Token
from keyturn.testing import FakeClock
from tests.acceptance.servers import until
from tests.client.driving import OTHER, TOKEN

SECOND = 1_000_000


class Place:
    """A place that tests write to, without a stamp, as Vault is one."""

    name = "place:a"

    def __init__(self, text: str) -> None:
        self.text = text
        self.is_down = False
        self.reads = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def read(self) -> str:
        self.reads += 1
        assert self.may_go_on.wait(60)
        if self.is_down:
            raise SourceFault("It is down.")
        return self.text

    def stamp(self) -> None:
        return None


@pytest.fixture
def place() -> Place:
    return Place(TOKEN.reveal())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def source(place: Place, clock: FakeClock) -> KeySource:
    return KeySource(place, clock=clock)


def settled(source: KeySource, hint: str) -> None:
    """Waits until the source has this token."""
    until(lambda: source.token().hint == hint)


# --- a file ---------------------------------------------------------------------------------------


def test_a_file_is_followed_at_once_and_read_only_when_it_changed(tmp_path: Path) -> None:
    file = tmp_path / "a.token"
    file.write_text(TOKEN.reveal())
    source = KeySource(f"file:{file}", clock=FakeClock())
    first = source.token()
    assert source.token() is first
    (tmp_path / "new").write_text(OTHER.reveal())
    (tmp_path / "new").replace(file)
    assert source.token().hint == OTHER.hint


def test_a_half_written_or_missing_file_leaves_the_last_good_token(tmp_path: Path) -> None:
    file = tmp_path / "a.token"
    file.write_text(TOKEN.reveal())
    source = KeySource(f"file:{file}", clock=FakeClock())
    source.token()
    for text in ("", OTHER.reveal()[:50], OTHER.reveal()[:-1], "garbage"):
        file.write_text(text)
        assert source.token().hint == TOKEN.hint
        assert source.refresh().hint == TOKEN.hint
    file.unlink()
    assert source.token().hint == TOKEN.hint
    file.write_text(OTHER.reveal())
    assert source.token().hint == OTHER.hint


def test_a_file_whose_change_its_marks_do_not_show_is_read_again_by_age(tmp_path: Path) -> None:
    class Unmarked(Place):
        def stamp(self) -> tuple[int, ...]:  # type: ignore[override]
            return (1,)

    place, clock = Unmarked(TOKEN.reveal()), FakeClock()
    source = KeySource(place, clock=clock)
    assert source.token().hint == TOKEN.hint
    place.text = OTHER.reveal()
    assert source.token().hint == TOKEN.hint
    clock.advance(5 * SECOND)
    assert source.token().hint == OTHER.hint


def test_whoever_writes_however_each_thread_always_has_a_whole_token(tmp_path: Path) -> None:
    file = tmp_path / "a.token"
    file.write_text(TOKEN.reveal())
    source = KeySource(f"file:{file}", every_seconds=0.001)
    ends = threading.Event()
    hints: set[str] = set()

    def use() -> None:
        while not ends.is_set():
            hints.add(source.token().hint)

    users = [threading.Thread(target=use) for _ in range(4)]
    for one in users:
        one.start()
    for token in (OTHER, TOKEN) * 50:
        for text in ("", token.reveal()[:40], token.reveal()):
            file.write_text(text)
    file.write_text(OTHER.reveal())
    settled(source, OTHER.hint)
    ends.set()
    for one in users:
        one.join(60)
    assert hints <= {TOKEN.hint, OTHER.hint}


# --- any other place ------------------------------------------------------------------------------


def test_a_place_is_read_again_by_age_and_no_call_waits_for_it(
    place: Place, clock: FakeClock, source: KeySource
) -> None:
    source.token()
    clock.advance(4 * SECOND)
    source.token()
    assert place.reads == 1
    place.text = OTHER.reveal()
    place.may_go_on.clear()
    clock.advance(SECOND)
    for _ in range(10):
        assert source.token().hint == TOKEN.hint  # while somebody reads
    place.may_go_on.set()
    settled(source, OTHER.hint)
    assert place.reads == 2


def test_a_place_that_is_down_fails_no_call_and_is_told_once(
    place: Place, clock: FakeClock, source: KeySource, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "keyturn.client")
    source.token()
    place.is_down = True
    for _ in range(3):
        assert source.refresh().hint == TOKEN.hint
        clock.advance(10 * SECOND)
    assert [one.levelname for one in caplog.records] == ["WARNING"]
    assert "It is down." in caplog.text
    place.is_down, place.text = False, OTHER.reveal()
    assert source.refresh().hint == OTHER.hint
    told = [one.getMessage() for one in caplog.records[1:]]
    assert told == [
        "place:a can be read again.",
        f"A new token is taken from place:a: {OTHER.hint}…",
    ]
    assert not holds_shape(caplog.text)


def test_a_place_that_never_had_a_token_fails_and_is_asked_again_by_the_next_call(
    place: Place, source: KeySource
) -> None:
    place.is_down = True
    for _ in range(2):
        with pytest.raises(SourceFault, match="It is down"):
            source.token()
    place.is_down = False
    assert source.token().hint == TOKEN.hint


# --- after a refusal ------------------------------------------------------------------------------


def test_a_refused_token_is_asked_for_anew_but_not_with_each_refusal(
    place: Place, clock: FakeClock, source: KeySource
) -> None:
    token = source.token()
    clock.advance(2 * SECOND)
    for _ in range(100):
        assert source.other_than(token) is None
    assert place.reads == 2
    place.text = OTHER.reveal()
    clock.advance(SECOND)
    other = source.other_than(token)
    assert other is not None
    assert other.hint == OTHER.hint
    for _ in range(100):
        assert source.other_than(token) is other
    assert place.reads == 3


def test_of_many_threads_that_are_refused_one_reads(place: Place, clock: FakeClock) -> None:
    source = KeySource(place, clock=clock)
    token = source.token()
    place.text = OTHER.reveal()
    clock.advance(2 * SECOND)
    found: list[str] = []

    def refused() -> None:
        other = source.other_than(token)
        found.append("" if other is None else other.hint)

    run_together(refused, 16)
    assert found == [OTHER.hint] * 16
    assert place.reads == 2


def run_together(act: Callable[[], None], number: int) -> None:
    threads = [threading.Thread(target=act) for _ in range(number)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)


def test_of_many_threads_that_wait_for_the_first_token_one_meets_the_fault_for_all() -> None:
    place = Place(TOKEN.reveal())
    place.is_down = True
    place.may_go_on.clear()
    source = KeySource(place)
    met: list[str] = []

    def use() -> None:
        try:
            source.token()
        except SourceFault as fault:
            met.append(str(fault))

    first = threading.Thread(target=use)
    first.start()
    until(lambda: place.reads == 1)
    threading.Timer(0.3, place.may_go_on.set).start()
    run_together(use, 8)
    first.join(60)
    assert met == ["It is down."] * 9
    assert place.reads < 9


@dataclass
class Passing:
    """A clock that tests set."""

    seconds: float = 0.0

    def now(self) -> int:
        return int(self.seconds * SECOND)

    def elapsed(self) -> float:
        return self.seconds

    def boot(self) -> float:
        return self.seconds


class Failing(Place):
    """One that takes more than a second to fail, as a vendor's library does without a network."""

    def __init__(self, clock: Passing) -> None:
        super().__init__(TOKEN.reveal())
        self._clock = clock
        self.raised: Exception = OSError(OTHER.reveal())

    def read(self) -> str:
        self.reads += 1
        assert self.may_go_on.wait(60)
        if self.is_down:
            time.sleep(0.2)  # the others come to wait meanwhile
            self._clock.seconds += 1.2
            raise self.raised
        return self.text


@pytest.fixture
def passing() -> Passing:
    return Passing()


@pytest.fixture
def failing(passing: Passing) -> Failing:
    return Failing(passing)


def test_of_many_that_are_refused_one_reads_a_place_that_takes_long_to_fail(
    failing: Failing, passing: Passing
) -> None:
    source = KeySource(failing, clock=passing)
    token = source.token()
    passing.seconds += 2
    failing.is_down = True
    found: list[Token | None] = []
    run_together(lambda: found.append(source.other_than(token)), 6)
    assert found == [None] * 6
    assert failing.reads == 2


async def test_those_that_await_a_place_leave_the_threads_to_the_program(
    failing: Failing, passing: Passing
) -> None:
    source = KeySource(failing, clock=passing)
    token = await source.atoken()
    passing.seconds += 2
    failing.is_down = True
    failing.may_go_on.clear()
    timer = threading.Timer(10, failing.may_go_on.set)
    timer.start()
    async with anyio.create_task_group() as tasks:
        for _ in range(60):
            tasks.start_soon(source.aother_than, token)
        await anyio.sleep(0.2)
        await anyio.to_thread.run_sync(int)
        has_found_a_thread = not failing.may_go_on.is_set()
        failing.may_go_on.set()
    timer.cancel()
    assert has_found_a_thread
    assert failing.reads == 2


@pytest.mark.parametrize("raised", [OSError, ValueError, RuntimeError, LookupError])
def test_whatever_a_place_raises_harms_no_call_and_is_told_without_its_text(
    failing: Failing,
    passing: Passing,
    raised: type[Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing.raised = raised(OTHER.reveal())
    source = KeySource(failing, clock=passing)
    failing.is_down = True
    with pytest.raises(SourceFault, match=rf"reading it failed \({raised.__name__}\)") as met:
        source.token()
    assert met.value.__context__ is None
    failing.is_down = False
    token = source.token()
    failing.is_down = True
    for ask in (source.token, source.refresh, partial(source.other_than, token)):
        passing.seconds += 6
        before = failing.reads
        assert ask() in (token, None)
        assert until(partial(has_read, failing, before))
    assert [one.levelname for one in caplog.records] == ["WARNING"]
    assert not holds_shape(caplog.text)


def has_read(place: Place, before: int) -> bool:
    return place.reads > before


def test_a_mark_that_cannot_be_looked_at_harms_no_call(place: Place, clock: FakeClock) -> None:
    class Unmarkable(Place):
        def stamp(self) -> None:
            raise PermissionError(OTHER.reveal())

    source = KeySource(Unmarkable(TOKEN.reveal()), clock=clock)
    for _ in range(2):
        assert source.token().hint == TOKEN.hint


async def test_it_can_be_awaited(place: Place, clock: FakeClock, source: KeySource) -> None:
    token = await source.atoken()
    assert token.hint == TOKEN.hint
    place.text = OTHER.reveal()
    clock.advance(2 * SECOND)
    other = await source.aother_than(token)
    assert other is not None
    assert (await source.arefresh()).hint == other.hint == OTHER.hint


def in_fork(source: KeySource, found: "multiprocessing.SimpleQueue[str]") -> None:
    found.put(source.refresh().hint)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_reads_does_not_hang(place: Place, source: KeySource) -> None:
    source.token()
    place.may_go_on.clear()
    thread = threading.Thread(target=source.refresh)
    thread.start()
    until(lambda: place.reads == 2)
    forks = multiprocessing.get_context("fork")
    found = forks.SimpleQueue()

    def child() -> None:
        place.may_go_on = threading.Event()
        place.may_go_on.set()
        in_fork(source, found)

    process = forks.Process(target=child)
    process.start()
    process.join(60)
    place.may_go_on.set()
    thread.join(60)
    assert process.exitcode == 0
    assert found.get() == TOKEN.hint


# --- how it is made -------------------------------------------------------------------------------


def test_it_shows_its_place_and_no_token(source: KeySource) -> None:
    source.token()
    assert repr(source) == "<KeySource place:a>"
    assert source.name == "place:a"


def test_it_is_the_environment_by_itself() -> None:
    assert KeySource(environ={"KEYTURN_API_KEY": TOKEN.reveal()}).token().hint == TOKEN.hint


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_seconds_that_are_none_are_refused(seconds: float) -> None:
    with pytest.raises(ConfigurationFault, match="more than 0"):
        KeySource("env:", every_seconds=seconds)
