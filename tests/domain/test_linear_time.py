"""Nothing that comes from outside takes more than linear time: four times the text, about four
times the time, however hostile it is.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from time import thread_time

import pytest

from keyturn.domain.error import RequestInvalid
from keyturn.domain.identity import parse_id
from keyturn.domain.instant import parse_instant
from keyturn.domain.metadata import encode_metadata
from keyturn.domain.network import check_networks, parse_address, parse_network
from keyturn.domain.permission import check_permissions
from keyturn.domain.redaction import holds_shape, holds_token, redact
from keyturn.domain.request import recordable, recordable_path
from keyturn.domain.runtime import check_runtime, identify_runtime
from keyturn.domain.scope import check_scopes
from keyturn.domain.slot import KNOWN_ENVIRONMENTS, SlotName, infer_slot_name, make_slot_name
from keyturn.domain.text import check_text, check_url, without_controls
from keyturn.domain.token import parse_token
from tests.domain.samples import sample_token

SMALL, FACTOR = 25_000, 4
# A quadratic reader would take 16 times as long. What is under a millisecond is not judged: it is
# the machine's noise, and 100 kB in a millisecond is no attack.
BOUND = 10.0
NOISE_SECONDS = 0.001

KNOWN = frozenset(KNOWN_ENVIRONMENTS)
LARGE = 1_000_000

READERS: dict[str, Callable[[str], object]] = {
    "parse_token": parse_token,
    "holds_shape": holds_shape,
    "holds_token": holds_token,
    "redact": redact,
    "parse_id": parse_id,
    "parse_instant": parse_instant,
    "parse_address": parse_address,
    "parse_network": parse_network,
    "check_networks": lambda text: check_networks([text]),
    "check_scopes": lambda text: check_scopes([text]),
    "check_permissions": lambda text: check_permissions([text]),
    "check_permissions_at": lambda text: check_permissions([f"keys:read@{text}"]),
    "check_runtime": lambda text: check_runtime(text, ""),
    "identify_runtime": lambda text: identify_runtime(None, text, None, ()),
    "check_text": lambda text: check_text(text, "", longest=LARGE),
    "check_url": lambda text: check_url(text, ""),
    "without_controls": lambda text: without_controls(text, LARGE),
    "recordable": lambda text: recordable(text, LARGE),
    "recordable_path": recordable_path,
    "infer_slot_name": lambda text: infer_slot_name(text, KNOWN),
    "make_slot_name": lambda text: make_slot_name(text, text),
    "SlotName.parse": SlotName.parse,
    "encode_metadata": lambda text: encode_metadata({"a": text}),
    "encode_metadata_names": lambda text: encode_metadata(dict.fromkeys(text.split("_"), 1)),
}
TOKEN = sample_token().reveal()
PATTERNS = {
    "letters": "a",
    "separators": "_",
    "digits": "1",
    "brands": "ab_",
    "brands and environments": "abcdefgh_",
    "near tokens": "kt_prod_" + "z" * 70 + "-",
    "shapes": "kt_prod_" + "z" * 71,
    "shapes that overlap": "kt_prod_" + "z" * 69 + "kt_prod_",
    "long runs": "kt_prod_" + "z" * 500,
    "tokens with a bad sum": TOKEN[:-1] + ("a" if TOKEN[-1] != "a" else "b"),
    "hyphens": "-",
    "hyphens and letters": "a-",
    "scopes": "a:",
    "versions": "1.",
    "versions with tails": "1-a",
    "spaces": " ",
    "spaces between": "a ",
    "newlines": "\n",
    "capital dotted i": "\u0130",
    "slashes": "/",
    "addresses": "http://a@",
    "percents": "%",
    "colons": ":",
}


def seconds(reader: Callable[[str], object], text: str) -> float:
    best = float("inf")
    for _ in range(3):
        began = thread_time()
        with suppress(RequestInvalid, ValueError):
            reader(text)
        best = min(best, thread_time() - began)
    return best


def is_linear(reader: Callable[[str], object], pattern: str, size: int = SMALL) -> bool:
    small = pattern * (size // len(pattern))
    for _ in range(3):  # another program may have had the processor
        much = seconds(reader, small * FACTOR)
        if much < NOISE_SECONDS or much < BOUND * seconds(reader, small):
            return True
    return False


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_reader_takes_linear_time(name: str) -> None:
    slow = [
        label
        for label, pattern in PATTERNS.items()
        for hostile in (pattern, f"x{pattern}")
        if not is_linear(READERS[name], hostile)
    ]
    assert slow == []


def test_a_quadratic_reader_is_found() -> None:
    assert not is_linear(re.compile(r"a*b").search, "a", size=2_000)
