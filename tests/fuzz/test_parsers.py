"""Each parser against its other reading: a few thousand inputs here, a million in the driver."""

import random
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.domain.token import parse_token
from tests.domain.spec import read_token
from tests.fuzz.mutation import drawn
from tests.fuzz.parsers import READERS, feed
from tests.fuzz.reader import Reader
from tests.fuzz.texts import READERS as OF_TEXTS
from tests.fuzz.texts import TOKENS

INPUTS = 3_000
SEED = 20_260_101
BY_NAME = {reader.name: reader for reader in READERS}


@pytest.mark.parametrize("name", BY_NAME)
def test_thousands_of_changed_inputs_are_read_as_the_other_reading_says(name: str) -> None:
    print(f"seed {SEED}")
    tally = feed(BY_NAME[name], INPUTS, SEED)
    assert tally.faults == []
    assert tally.tried == INPUTS
    assert len(tally.outcomes) > 1, "nothing but one outcome was reached"


@pytest.mark.parametrize("name", BY_NAME)
@settings(max_examples=100)
@given(source=st.randoms(use_true_random=False))
def test_what_hypothesis_makes_of_the_samples_is_read_alike(name: str, source: Random) -> None:
    reader = BY_NAME[name]
    assert reader.judge(reader.make(source))


@pytest.mark.parametrize("name", [reader.name for reader in OF_TEXTS])
@settings(max_examples=100)
@given(text=st.text())
def test_any_text_at_all_is_read_alike(name: str, text: str) -> None:
    assert BY_NAME[name].judge(text)


@pytest.mark.parametrize("name", ["body", "question"])
@settings(max_examples=300)
@given(raw=st.binary(max_size=200))
def test_any_bytes_at_all_are_read_alike(name: str, raw: bytes) -> None:
    assert BY_NAME[name].judge(raw)


def test_a_parser_that_reads_one_character_too_many_is_found() -> None:
    def judge(text: str) -> str:
        assert (parse_token(text.strip()) is None) == (read_token(text) is None)
        return "alike"

    make = partial(drawn, samples=[f"{token} " for token in TOKENS], likely=" _")
    planted: Reader[Any] = Reader(name="token", make=make, judge=judge)
    assert feed(planted, INPUTS, SEED).faults


def test_the_same_seed_makes_the_same_inputs() -> None:
    for reader in READERS:
        one, other = random.Random("a"), random.Random("a")
        assert [reader.make(one) for _ in range(20)] == [reader.make(other) for _ in range(20)]
