"""The server does what its document says, whatever is sent: Schemathesis finds nothing to excuse
but what the contract asks for."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.acceptance.api import Site
from tests.fuzz.excuses import EXCUSES, REJECTED, Told, is_excused
from tests.fuzz.trial import PHASES, Tally, run, seats

SEED = 20_260_101
OpenSite = Callable[..., Site]


def tried(site: Site, name: str, *, examples: int, phases: tuple[str, ...] = PHASES) -> Tally:
    tally = Tally()
    print(f"seed {SEED}")
    run(site, seats(site)[name], tally, seed=SEED, examples=examples, phases=phases)
    assert not tally.faults, "\n".join(tally.lines())
    assert set(tally.statuses) == {
        f"{method} {path}" for method, path, _ in site.operator.conformance.operations()
    }
    return tally


def succeeded(tally: Tally) -> set[str]:
    return {
        operation
        for operation, statuses in tally.statuses.items()
        if any(200 <= status < 300 for status in statuses)
    }


def test_all_phases_as_an_operator_find_no_fault_and_reach_every_operation(
    open_shared_site: OpenSite,
) -> None:
    tally = tried(open_shared_site("sqlite"), "operator", examples=12)
    assert set(tally.phases) == set(PHASES)
    assert succeeded(tally) == set(tally.statuses)


def test_fuzzing_on_postgresql_finds_no_fault(open_shared_site: OpenSite) -> None:
    tried(open_shared_site("postgresql"), "operator", examples=4, phases=("examples", "fuzzing"))


@pytest.mark.parametrize(
    ("name", "may"), [("narrow", {"keys:read", "any"}), ("nobody", set[str]())]
)
def test_no_generated_call_succeeds_without_the_permission_for_it(
    open_shared_site: OpenSite, name: str, may: set[str]
) -> None:
    site = open_shared_site("sqlite")
    tally = tried(site, name, examples=4, phases=("examples", "fuzzing"))
    allowed = {
        f"{method} {path}"
        for method, path, operation in site.operator.conformance.operations()
        if operation.get("x-keyturn-permission") in (*may, None)
    }
    assert succeeded(tally) <= allowed


def test_an_excuse_covers_its_own_place_alone() -> None:
    told = Told(
        check=REJECTED, operation="GET /v1/slots", code="request.invalid", pointers=("/cursor",)
    )
    assert is_excused(told)
    assert not is_excused(replace(told, pointers=("/cursor", "/limit")))
    assert not is_excused(replace(told, code="internal"))
    assert not is_excused(replace(told, check="not_a_server_error"))
    assert len({one.reason for one in EXCUSES}) == len(EXCUSES)
