"""A file of slots: what it says, and each fault in it with its line, before anything is sent."""

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keyturn.cli.declaration import (
    MOST_EXPECTED,
    MOST_SLOTS,
    Declaration,
    Source,
    read_declaration,
)
from keyturn.cli.yaml_file import LARGEST_BYTES
from keyturn.domain.error import RequestInvalid
from keyturn.domain.slot import ExpectedRuntime, SlotNotes
from keyturn.domain.token import make_token
from keyturn.http.slots import GivenNotes


def read(*texts: str | bytes) -> Declaration:
    contents = (one if isinstance(one, bytes) else one.encode() for one in texts)
    names = ("a.yaml", "b.yaml", "c.yaml")
    return read_declaration(
        [Source(name=name, content=one) for name, one in zip(names, contents, strict=False)]
    )


def notes(*texts: str | bytes) -> dict[str, SlotNotes]:
    found = read(*texts)
    assert [str(one) for one in found.faults] == []
    return {str(one.name): one.notes for one in found.slots}


def faults(*texts: str | bytes) -> list[str]:
    return [str(one) for one in read(*texts).faults]


def a_token() -> str:
    return make_token(
        brand="kt", environment="prod", id=UUID(int=7), secret=b"planted in a file of slots......"
    ).reveal()


def test_it_says_what_a_reader_would_take_it_to_say() -> None:
    said = notes("""
defaults:
  rotation_period_days: 90
  owner: ops@example.com
slots:
  scheduler-prod:
    owner: payments@example.com
    purpose: >-
      Publishes what
      is due
    runtimes:
      - worker
      - nightly=26h
      - {name: weekly, max_call_interval_seconds: 8d}
      - name: hourly
        max_call_interval_seconds: 7200
  worker-prod:
  2001-12: {owner: ~, rotation_period_days: 30}
""")
    assert said["scheduler-prod"] == SlotNotes(
        owner="payments@example.com",
        purpose="Publishes what is due",
        rotation_period_days=90,
        runtimes=(
            ExpectedRuntime(name="hourly", max_call_interval_seconds=7_200),
            ExpectedRuntime(name="nightly", max_call_interval_seconds=93_600),
            ExpectedRuntime(name="weekly", max_call_interval_seconds=691_200),
            ExpectedRuntime(name="worker", max_call_interval_seconds=None),
        ),
    )
    assert said["worker-prod"] == SlotNotes(owner="ops@example.com", rotation_period_days=90)
    assert said["2001-12"] == SlotNotes(rotation_period_days=30)


def test_json_says_the_same() -> None:
    for indent in (None, 2, "\t"):
        text = json.dumps({"slots": {"a-prod": {"owner": "Zoë \U0001f511"}}}, indent=indent)
        assert notes(text) == {"a-prod": SlotNotes(owner="Zoë \U0001f511")}


def test_each_file_has_its_own_defaults() -> None:
    said = notes(
        "defaults: {owner: a}\nslots: {a-prod: }", "defaults: {owner: b}\nslots: {b-prod: {}}"
    )
    assert said == {"a-prod": SlotNotes(owner="a"), "b-prod": SlotNotes(owner="b")}


def test_no_runtimes_take_those_of_the_defaults_away() -> None:
    said = notes("defaults: {runtimes: [worker]}\nslots: {a-prod: {runtimes: []}, b-prod: {}}")
    assert said["a-prod"].runtimes is None
    assert said["b-prod"].runtimes is not None


def test_no_slots_may_be_meant() -> None:
    assert notes("slots: {}") == {}


SLOT = "slots:\n  a-prod:\n    "
BAD: dict[str, tuple[str | bytes, int, str]] = {
    "empty": ("", 1, "There is nothing in this file. Slots stand under `slots:`."),
    "only a comment": ("# later\n", 1, "There is nothing in this file."),
    "a document of nothing": ("---\n...\n", 1, "There is nothing in this file."),
    "binary": (b"\x7fELF\x02\x01\x01\x00", 1, "A control character stands here"),
    "no UTF-8": (b"slots:\n  a-prod: {owner: \xff}", 2, "This is no text in UTF-8."),
    "UTF-16": ("slots: {}".encode("utf-16"), 1, "This is no text in UTF-8."),
    "too large": (b"#" * (LARGEST_BYTES + 1), 1, "A file may have at most 1,048,576 bytes."),
    "a tab": ("slots:\n\ta-prod: {}", 2, "A tab stands here. YAML is indented with spaces."),
    "not closed": ("slots: {a-prod: [", 1, "The YAML breaks off here"),
    "a colon": (SLOT + "purpose: due: now", 3, "Another `:` stands here."),
    "two documents": ("slots: {}\n---\nslots: {}", 2, "A second document begins here."),
    "an unknown alias": (SLOT + "owner: *x", 3, "The YAML breaks off here"),
    "nested deep": ("[" * 20_000, 1, "This is nested deeper than any file of slots."),
    "a list": ("- a-prod", 1, "There is no `slots:` here."),
    "no slots": ("a-prod: {}\nb-prod: {}", 1, "There is no `slots:` here."),
    "nothing under slots": ("slots:\n", 1, "write `slots: {}`"),
    "slots in a list": ("slots:\n  - a-prod", 1, "Slots stand under `slots:` by their names"),
    "no environment": ("slots:\n  a: {}", 2, "a is no slot: A slot is a service and an environ"),
    "capitals": ("slots:\n  A-prod: {}", 2, "A-prod is no slot: A service has 1 to 63 of a-z"),
    "reserved": ("slots:\n  a-operator: {}", 2, "This environment is reserved for operators."),
    "a list as a name": ("slots:\n  ? [a]\n  : {}", 2, "A name stands here, no list"),
    "a slot twice": ("slots:\n  a-b: {}\n  a-b: {}", 3, "a-b stands already in line 2."),
    "a member twice": (SLOT + "owner: a\n    owner: a", 4, "owner stands already in line 3."),
    "an unknown member": (SLOT + "ownr: a", 3, "There is no member ownr; did you mean owner?"),
    "an unknown root": ("slot: {}\nslots: {}", 1, "no member slot; did you mean slots?"),
    "a merge": (SLOT + "<<: {owner: a}", 3, "YAML 1.2 has no `<<`. Use `defaults`"),
    "no mapping": ("slots:\n  a-prod: worker", 2, "a-prod: Members stand under it"),
    "a number as a text": (SLOT + "owner: 7", 3, "a-prod, owner: This is a text; put it in quo"),
    "a list as a text": (SLOT + "owner: [a]", 3, "a-prod, owner: This is a text"),
    "an own tag": (SLOT + "owner: !x a", 3, "a-prod, owner: This is a text"),
    "an empty text": (SLOT + 'owner: ""', 3, "a-prod, owner: This must not be empty."),
    "a long text": (SLOT + "owner: " + "a" * 256, 3, "This may have at most 255 characters."),
    "two lines": (SLOT + "purpose: |\n      a\n      b", 3, "`>-` folds several into one."),
    "a control": (SLOT + r'owner: "a\u0007"', 3, "This may not have control characters."),
    "half a pair": (SLOT + r'owner: "a\ud83d"', 3, "This may not have control characters."),
    "no address": (SLOT + "runbook_url: wiki", 3, "This must be an http or https address"),
    "days as a text": (SLOT + 'rotation_period_days: "90"', 3, "a whole number of days"),
    "days with a unit": (SLOT + "rotation_period_days: 90d", 3, "a whole number of days"),
    "half a day": (SLOT + "rotation_period_days: 0.5", 3, "a whole number of days"),
    "octal days": (SLOT + "rotation_period_days: 0o17", 3, "a whole number of days"),
    "no days": (SLOT + "rotation_period_days: 0", 3, "This is 1 to 3650 days."),
    "many days": (SLOT + "rotation_period_days: " + "9" * 5_000, 3, "a whole number of days"),
    "no list of runtimes": (SLOT + "runtimes: nightly", 3, "This is a list; write `- nightly`"),
    "no runtime's name": (SLOT + "runtimes: [a b]", 3, "A runtime has 1 to 128 of"),
    "no span": (SLOT + "runtimes: [a=soon]", 3, "A runtime is written `nightly` or `nightly=26h`"),
    "a nameless one": (SLOT + "runtimes: [{}]", 3, "This runtime has no name"),
    "a runtime twice": (SLOT + "runtimes: [a, a=1h]", 3, "Each runtime is named once."),
    "too many": (SLOT + f"runtimes: {[f'a{i}' for i in range(257)]}", 3, "at most 256 runtimes"),
    "an odd interval": (
        SLOT + "runtimes: [{name: a, max_call_interval_seconds: often}]",
        3,
        "This is a number of seconds, or a span like 26h.",
    ),
    "ten years": (SLOT + "runtimes: [a=999999w]", 3, "This is 1 to 316224000 seconds"),
    "in the defaults": ("defaults: {owner: 1}\nslots: {a-b: {}}", 1, "defaults, owner: This is a"),
}


@pytest.mark.parametrize(("text", "line", "sentence"), BAD.values(), ids=BAD.keys())
def test_a_fault_is_one_sentence_with_its_line(text: str | bytes, line: int, sentence: str) -> None:
    (fault,) = faults(text)
    assert fault.startswith(f"a.yaml:{line}: ")
    assert sentence in fault
    assert fault.endswith((".", "?", "/ @ -"))
    assert "\n" not in fault


def test_all_faults_of_all_files_are_told_at_once_in_their_order() -> None:
    told = faults(
        "slots:\n  a-prod: {owner: 1, ownr: x}\n  B: {}\n  c-prod: {}",
        "slots: [",
        "slots:\n  c-prod: {}",
    )
    assert [one.partition(": ")[0] for one in told] == [
        "a.yaml:2", "a.yaml:2", "a.yaml:3", "b.yaml:1", "c.yaml:2",
    ]  # fmt: skip
    assert told[-1] == "c.yaml:2: c-prod stands already in a.yaml:4. Leave one out."


@pytest.mark.parametrize(
    "text",
    [
        "slots:\n  a-prod:\n    owner: TOKEN",
        "slots:\n  a-prod:\n    TOKEN: x",
        "slots:\n  TOKEN: {}\n# TOKEN",
        "slots: {}\n\n# TOKEN",
        "slots: {}\n\na: b: *TOKEN",
        'slots:\n  a-prod:\n    runtimes: [{name: "TOKEN"}]',
    ],
)
def test_a_token_anywhere_in_a_file_is_told_and_not_repeated(text: str) -> None:
    token = a_token()
    told = faults(text.replace("TOKEN", token))
    assert any("A token stands here. Take it out, and revoke it" in one for one in told)
    is_repeated = any(token in one for one in told)
    assert not is_repeated


def test_a_small_file_does_not_grow_by_its_aliases() -> None:
    lines = ["x: &x0 [a]", *(f"y{i}: &x{i} [{f'*x{i - 1},' * 9}]" for i in range(1, 30))]
    told = faults("\n".join(["slots: {a-prod: {purpose: *x29}}", *lines]))
    assert told[0].startswith("a.yaml:1: The YAML breaks off here")  # used before it is named
    told = faults("\n".join([*lines, "slots: {a-prod: {purpose: *x29}}"]))
    assert any("a-prod, purpose: This is a text" in one for one in told)
    runtimes = ", ".join(f"r{i}" for i in range(256))
    many = [f"  s{i}-prod: {{runtimes: *all}}" for i in range(MOST_EXPECTED // 256 + 2)]
    text = "\n".join(["defaults:", f"  runtimes: &all [{runtimes}]", "slots:", *many])
    (fault,) = faults(text)
    assert f"more than {MOST_EXPECTED:,} runtimes" in fault
    (fault,) = faults(text.replace("{runtimes: *all}", "{}"))
    assert f"more than {MOST_EXPECTED:,} runtimes" in fault
    (fault,) = faults("slots:\n" + "\n".join(f"  s{i}-a: " for i in range(MOST_SLOTS + 1)))
    assert f"at most {MOST_SLOTS:,} slots" in fault


def test_an_alias_that_holds_itself_is_a_fault_and_no_loop() -> None:
    assert len(faults("slots: &a\n  a-prod: *a")) == 1
    assert len(faults("slots: {a-prod: {runtimes: &r [*r]}}")) == 1


TEXTS = st.text(max_size=12) | st.sampled_from(["a", " a ", "a\n", "a b", "", "https://x/y"])
RUNTIMES = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b", "a b", "A/b:c@d"]) | st.text(max_size=4)},
    optional={"max_call_interval_seconds": st.none() | st.integers(-1, 400_000_000)},
)
NOTES = st.fixed_dictionaries(
    {},
    optional={
        "owner": TEXTS | st.none() | st.integers() | st.booleans(),
        "purpose": TEXTS | st.none(),
        "runbook_url": TEXTS | st.none() | st.just("http://a@b/"),
        "rotation_period_days": st.integers(-1, 4_000) | st.none() | st.just(1.5),
        "runtimes": st.none() | st.lists(RUNTIMES, max_size=3) | TEXTS,
        "ownr": st.just("x"),
    },
)


@given(NOTES)
def test_a_file_is_taken_where_the_server_would_take_each_of_its_slots(said: Any) -> None:
    content = json.dumps(said)
    try:
        judged = GivenNotes.model_validate_json(content).notes().checked()
    except (ValidationError, RequestInvalid):
        assert faults(f'{{"slots": {{"a-prod": {content}}}}}') != []
        return
    (found,) = notes(f'{{"slots": {{"a-prod": {content}}}}}').values()
    assert found.owner == judged.owner
    assert found.purpose == judged.purpose
    assert found.runbook_url == judged.runbook_url
    assert found.rotation_period_days == judged.rotation_period_days
    assert set(found.runtimes or ()) == set(judged.runtimes or ())
