"""A journal has each request whole and once, while it is written by several and read by another."""

import threading
from pathlib import Path

from keyturn.demo.journal import Entry, Journal, JournalReader


def entry(number: int) -> Entry:
    return Entry(
        request_id=f"r{number}",
        key_hint="kt_prod_hint",
        method="GET",
        path="/articles",
        sent_at=1.25,
        answered_at=1.5,
        status=None if number % 2 else 200,
    )


def test_what_threads_write_is_read_whole_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "worker.jsonl"
    reader = JournalReader(path)
    reader.refresh()
    assert reader.entries == []
    with Journal(path) as journal:

        def write(lane: int) -> None:
            for number in range(200):
                journal.write(entry(lane * 1_000 + number))

        lanes = [threading.Thread(target=write, args=(lane,)) for lane in range(4)]
        for lane in lanes:
            lane.start()
        while any(lane.is_alive() for lane in lanes):
            reader.refresh()
    reader.refresh()
    expected = [entry(lane * 1_000 + number) for lane in range(4) for number in range(200)]
    assert sorted(reader.entries, key=lambda one: int(one.request_id[1:])) == expected
    assert path.stat().st_mode & 0o777 == 0o600


def test_half_a_line_is_left_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "worker.jsonl"
    with Journal(path) as journal:
        journal.write(entry(1))
        journal.write(entry(2))
    whole = path.read_bytes()
    reader = JournalReader(path)
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        reader.refresh()
        assert len(reader.entries) == whole[:size].count(b"\n")
    assert reader.entries == [entry(1), entry(2)]


def test_only_an_answer_of_success_is_a_service() -> None:
    for status, is_served, is_refused in (
        (200, True, False),
        (204, True, False),
        (302, False, False),
        (401, False, True),
        (403, False, True),
        (503, False, False),
        (None, False, False),
    ):
        one = Entry(
            request_id="r",
            key_hint="h",
            method="GET",
            path="/articles",
            sent_at=1.0,
            answered_at=1.5,
            status=status,
        )
        assert (one.is_served, one.is_refused, one.seconds) == (is_served, is_refused, 0.5)
