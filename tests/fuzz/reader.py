"""What a fuzzer is: how its inputs are made, and what judges each of them."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

Input = TypeVar("Input", str, bytes)


@dataclass(frozen=True, kw_only=True)
class Reader(Generic[Input]):
    """A parser under test. `judge` names the outcome in a word, and raises `AssertionError` where
    the parser's reading is not what the other reading, or the rule, says."""

    name: str
    make: Callable[[Random], Input]
    judge: Callable[[Input], str]
