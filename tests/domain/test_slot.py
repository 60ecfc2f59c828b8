"""The slot: what a key's name tells of its service and environment, and notes that add up."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.error import RequestInvalid
from keyturn.domain.slot import (
    DEFAULT_ENVIRONMENT,
    KNOWN_ENVIRONMENTS,
    LONGEST_PERIOD_DAYS,
    NOTHING_NOTED,
    ExpectedRuntime,
    Slot,
    SlotName,
    SlotNotes,
    infer_slot_name,
    make_slot_name,
)
from tests.domain.samples import NOW, sample_id, sample_token

KNOWN = frozenset(KNOWN_ENVIRONMENTS)

services = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
environments = st.from_regex(r"[a-z0-9]{1,16}", fullmatch=True).filter(lambda e: e != "operator")


@pytest.mark.parametrize(
    ("name", "service", "environment"),
    [
        ("scheduler-prod", "scheduler", "prod"),
        ("scheduler", "scheduler", "default"),
        ("Scheduler-PROD", "scheduler", "prod"),
        ("scheduler-production", "scheduler", "production"),
        ("scheduler-eu-staging", "scheduler-eu", "staging"),
        ("scheduler-prod-eu", "scheduler-prod-eu", "default"),
        ("prod", "prod", "default"),
        ("prod-prod", "prod", "prod"),
        ("the nightly batch-qa", "the-nightly-batch", "qa"),
        ("scheduler_prod", "scheduler-prod", "default"),
        ("scheduler--prod", "scheduler", "prod"),
        ("a.b/c:d-ci", "a-b-c-d", "ci"),
        ("--a--b--", "a-b", "default"),
        ("Zoë-test", "zo", "test"),
        ("調度器 scheduler-prod", "scheduler", "prod"),
        ("\u0130stanbul-dev", "i-stanbul", "dev"),
        ("scheduler-operator", "scheduler-operator", "default"),
        ("0", "0", "default"),
        *[(f"a-{known}", "a", known) for known in KNOWN_ENVIRONMENTS],
    ],
)
def test_a_name_tells_its_slot(name: str, service: str, environment: str) -> None:
    found = infer_slot_name(name, KNOWN)
    assert found == SlotName(service=service, environment=environment)


@pytest.mark.parametrize("name", ["", "-", "-prod", "---prod", "!!!", "調度器", "_", " -qa"])
def test_a_name_that_tells_no_service_is_refused(name: str) -> None:
    with pytest.raises(RequestInvalid, match="No service"):
        infer_slot_name(name, KNOWN)


def test_the_environments_are_a_setting() -> None:
    assert infer_slot_name("a-lab", KNOWN).environment == DEFAULT_ENVIRONMENT
    assert infer_slot_name("a-lab", frozenset({"lab"})).environment == "lab"
    assert infer_slot_name("a-prod", frozenset()) == SlotName(
        service="a-prod", environment="default"
    )


@pytest.mark.parametrize("setting", ["operator", "é", "seventeencharacte", "a_b"])
def test_no_setting_lets_a_name_make_a_slot_that_cannot_be(setting: str) -> None:
    with pytest.raises(RequestInvalid):
        infer_slot_name(f"a-{setting}", frozenset({setting}))


@given(st.text(max_size=300), st.sampled_from(["", "-prod", "-PROD", "-x"]))
def test_what_a_name_tells_is_always_a_slot_that_could_be_given(rest: str, last: str) -> None:
    try:
        found = infer_slot_name(rest + last, KNOWN)
    except RequestInvalid:
        assert not any(letter.isascii() and letter.isalnum() for letter in rest.lower())
        return
    assert make_slot_name(found.service, found.environment) == found
    assert SlotName.parse(str(found)) == found
    assert len(found.service) <= 63


def test_a_long_service_is_cut_to_63_and_never_ends_in_a_hyphen() -> None:
    assert infer_slot_name("a" * 100, KNOWN).service == "a" * 63
    assert infer_slot_name("a" * 62 + "-bc-prod", KNOWN).service == "a" * 62


@given(services, environments)
def test_a_slot_comes_back_from_its_name(service: str, environment: str) -> None:
    made = make_slot_name(service, environment)
    assert str(made) == f"{service}-{environment}"
    assert SlotName.parse(str(made)) == made


@given(st.text(alphabet="abc-_A\né", max_size=10))
def test_no_other_text_names_a_slot(text: str) -> None:
    found = SlotName.parse(text)
    assert found is None or str(found) == text


@pytest.mark.parametrize(
    "service", ["", "-", "-a", "a-", "A", "a_b", "a b", "é", "\u0661", "a\n", "a" * 64, "a.b"]
)
def test_what_is_no_service_is_refused(service: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        make_slot_name(service, "prod")
    assert caught.value.faults[0].pointer == "/service"
    assert SlotName.parse(f"{service}-prod") is None


@pytest.mark.parametrize(
    "environment", ["", "Prod", "us-east", "a_b", "é", "\u0661", "prod\n", "a" * 17, "operator"]
)
def test_what_is_no_environment_is_refused(environment: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        make_slot_name("scheduler", environment)
    assert caught.value.faults[0].pointer == "/environment"


def test_no_slot_is_in_the_environment_of_operators() -> None:
    assert SlotName.parse("scheduler-operator") is None


# --- notes ---------------------------------------------------------------------------------------

NOTES = SlotNotes(
    owner="team-a",
    purpose="It schedules.",
    runbook_url="https://wiki.example.com/scheduler",
    rotation_period_days=90,
    runtimes=(ExpectedRuntime(name="worker", max_call_interval_seconds=60),),
)
SLOT = Slot(
    workspace_id=sample_id(),
    name=SlotName(service="scheduler", environment="prod"),
    notes=NOTES,
    created_at=NOW,
    updated_at=NOW,
    version=1,
)
notes = st.builds(
    SlotNotes,
    owner=st.sampled_from([None, "team-a", "team-b"]),
    purpose=st.sampled_from([None, "p"]),
    runbook_url=st.sampled_from([None, "https://x.example.com"]),
    rotation_period_days=st.sampled_from([None, 1, 90]),
    runtimes=st.sampled_from([None, (), NOTES.runtimes]),
)
MEMBERS = ("owner", "purpose", "runbook_url", "rotation_period_days", "runtimes")


@given(notes, notes)
def test_notes_are_laid_over_those_that_are_there(first: SlotNotes, second: SlotNotes) -> None:
    slot = replace(SLOT, notes=first)
    noted = slot.noted(second, NOW + 1)
    for member in MEMBERS:
        said = getattr(second, member)
        kept = getattr(first, member)
        assert getattr(noted.notes, member) == (kept if said is None else said)
    assert (noted is slot) == (noted.notes == first)
    assert noted.version == slot.version + (noted is not slot)


@given(notes, notes)
def test_replaced_notes_are_exactly_those_given(first: SlotNotes, second: SlotNotes) -> None:
    slot = replace(SLOT, notes=first)
    replaced = slot.replaced(second, NOW + 1)
    assert replaced.notes == second
    assert (replaced.version, replaced.updated_at) == (
        (1, NOW) if first == second else (2, NOW + 1)
    )


def test_checked_notes_are_stripped() -> None:
    assert replace(NOTES, owner=" team-a ", purpose=" It schedules.\n").checked() == NOTES
    assert NOTHING_NOTED.checked().is_empty
    assert not NOTES.is_empty


@pytest.mark.parametrize(
    ("bad", "pointer"),
    [
        (SlotNotes(owner=""), "/owner"),
        (SlotNotes(owner="a\nb"), "/owner"),
        (SlotNotes(owner=sample_token().reveal()), "/owner"),
        (SlotNotes(purpose="x" * 1_001), "/purpose"),
        (SlotNotes(runbook_url="javascript:alert(1)"), "/runbook_url"),
        (SlotNotes(rotation_period_days=0), "/rotation_period_days"),
        (SlotNotes(rotation_period_days=-1), "/rotation_period_days"),
        (SlotNotes(rotation_period_days=LONGEST_PERIOD_DAYS + 1), "/rotation_period_days"),
    ],
    ids=str,
)
def test_a_note_that_cannot_be_kept_is_refused(bad: SlotNotes, pointer: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        bad.checked()
    assert caught.value.faults[0].pointer == pointer
