"""Schemathesis against a real server: each operation of the server's own document, in all phases
(examples, coverage, fuzzing, stateful), under all its checks and two of ours.

`python -m tests.fuzz.trial --cases 20000` runs as many cases on SQLite and prints what each
operation answered. It prints its seed; `--seed` runs the same again.
"""

import argparse
import ipaddress
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.engine import events, from_schema
from schemathesis.generation import GenerationMode

from keyturn.domain.redaction import holds_shape, redact
from tests.acceptance.api import Json, Site, label, open_site
from tests.acceptance.servers import Estate, serving
from tests.fuzz.excuses import Told, is_excused
from tests.fuzz.seeding import Seed, seeds
from tests.servers.postgres import Postgres

PHASES = ("examples", "coverage", "fuzzing", "stateful")
_ISSUING = (
    "POST /v1/api-keys",
    "POST /v1/workspaces",
    "POST /v1/api-keys/{id}/rotations",
    "POST /v1/staff-changes",
    "POST /v1/incidents/{id}/replacements",
)
_MOST_SHOWN = 1_000
_LONG_SECONDS = 30_000_000


@dataclass(frozen=True, kw_only=True)
class Seat:
    """Who calls: a name for people, a token or none, the workspace that each call names, and what
    was made there for the calls."""

    name: str
    token: str | None = field(repr=False)
    workspace: str | None = None
    seeds: Mapping[str, Seed] = field(default_factory=dict, repr=False)


@dataclass(kw_only=True)
class Tally:
    """What was called and answered, and every finding that nothing excuses."""

    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    phases: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        return sum(self.phases.values())

    def take(self, scenario: events.ScenarioFinished) -> None:
        recorder = scenario.recorder
        for id_, node in recorder.cases.items():
            operation = node.value.operation.label
            interaction = recorder.interactions.get(id_)
            if interaction is None or interaction.response is None:
                self.faults[f"{operation}: no answer"] = scenario.phase.value
                continue
            response = interaction.response
            self.phases[scenario.phase.value] += 1
            self.statuses.setdefault(operation, Counter())[response.status_code] += 1
            for check in recorder.checks.get(id_, ()):
                if check.failure_info is not None:
                    failure = check.failure_info.failure
                    told = _told(check.name, operation, response.content)
                    self._judge(
                        told,
                        f"{operation} {response.status_code}: {failure.title}",
                        f"{failure.message}\n{check.failure_info.code_sample}\n{response.text}",
                    )

    def _judge(self, told: Told, name: str, detail: str) -> None:
        if is_excused(told):
            self.excused[told.check] += 1
        else:
            self.faults.setdefault(name, redact(detail)[:_MOST_SHOWN])

    def lines(self) -> Iterable[str]:
        for operation, statuses in sorted(self.statuses.items()):
            answers = "  ".join(f"{status}: {n}" for status, n in sorted(statuses.items()))
            yield f"{operation:38} {statuses.total():7}   {answers}"
        yield f"{'cases':38} {self.cases:7}   {dict(self.phases)}"
        yield f"{'excused by the contract':38} {self.excused.total():7}"
        for name, detail in self.faults.items():
            yield f"FAULT {name}\n{detail}"


def _told(check: str, operation: str, body: bytes) -> Told:
    try:
        problem = json.loads(body)
        pointers = [one["pointer"] for one in problem.get("errors", ())]
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError, AttributeError):
        code, detail, pointers = "", "", []
    return Told(check=check, operation=operation, code=code, detail=detail, pointers=pointers)


# --- what Schemathesis is told --------------------------------------------------------------------


def block(address: ipaddress.IPv4Address | ipaddress.IPv6Address, ones: int) -> str:
    prefix = min(ones, address.max_prefixlen)
    return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False))


schemathesis.openapi.format("ip", st.ip_addresses().map(str))
schemathesis.openapi.format(
    "cidr", st.builds(block, st.ip_addresses(v=4) | st.ip_addresses(v=6), st.integers(0, 128))
)


@schemathesis.hook
def before_call(
    ctx: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]
) -> None:
    """What no schema tells and would nearly always be refused is made acceptable: else hardly a
    key would be made, since each would replace one of an id that nobody has."""
    body = case.body
    mode = None if case.meta is None else case.meta.generation.mode
    if mode is not GenerationMode.POSITIVE or not isinstance(body, dict):
        return
    match case.operation.label:
        case "POST /v1/api-keys" if len(str(body.get("name"))) % 4:
            body.pop("replaces", None)
        case "POST /v1/rotations/{id}/extend" if body.get("overlap_seconds") or not body.get(
            "deadline"
        ):
            body.pop("deadline", None)
            body["overlap_seconds"] = body.get("overlap_seconds") or _LONG_SECONDS
        case "POST /v1/incidents" if len(str(body.get("detail"))) % 4:
            # What contains keys would leave none for the other operations.
            for name in ("key_ids", "tokens", "expected_count"):
                body.pop(name, None)
            body |= {"select": {"since": "2020-01-01T00:00:00Z"}, "dry_run": True}
            body.pop("exposed_since", None)
        case "POST /v1/channels":
            body |= {"kind": "webhook", "url": "https://hooks.invalid/"}
            body.pop("addresses", None)
            body.pop("to_owners", None)
        case "PATCH /v1/channels/{id}":  # those that are made here are webhooks
            body |= {"url": "https://hooks.invalid/"}
            body.pop("addresses", None)
            body.pop("to_owners", None)
        case _:
            pass


@schemathesis.check
def headers_of_every_answer(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    headers = response.headers
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", headers["x-request-id"][0])
    assert headers["x-content-type-options"] == ["nosniff"]
    assert headers["cache-control"] == ["no-store"]


@schemathesis.check
def tokens_are_told_at_creation_alone(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    text = response.text
    if response.status_code in (200, 201) and case.operation.label in _ISSUING:
        body = response.json()
        for made in body.get("replacements", body.get("keys", [body])):
            text = text.replace(f'"api_key":{json.dumps(made["api_key"])}', "")
    headers = "\n".join(value for values in response.headers.values() for value in values)
    assert not holds_shape(text + "\n" + headers), "a token stands in this answer"


def run(
    site: Site,
    seat: Seat,
    tally: Tally,
    *,
    seed: int,
    examples: int,
    phases: Sequence[str] = PHASES,
) -> None:
    """Calls every operation as `seat`. `examples` is how many cases of each the fuzzing makes."""
    config: dict[str, Any] = {
        "seed": seed,
        "generation": {"max-examples": examples, "database": "none", "no-shrink": True},
        "phases": {name: {"enabled": name in phases} for name in PHASES},
        "base-url": site.server.url,
        "continue-on-failure": True,
        "suppress-health-check": ["all"],
        "request-timeout": 60,
    }
    if seat.token is not None:
        config["auth"] = {"openapi": {"bearer": {"bearer": seat.token}}}
    if seat.workspace is not None:
        config["parameters"] = {"header.Keyturn-Workspace": seat.workspace}
    schema = schemathesis.openapi.from_dict(
        sown(site.document, seat.seeds), config=schemathesis.Config.from_dict(config)
    )
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished():
                tally.take(event)
            case events.NonFatalError():
                tally.faults[f"the engine at {event.label}"] = repr(event.value)
            case events.FatalError():
                tally.faults["the engine"] = repr(event.exception)
            case _:
                pass


def sown(document: Json, seeds: Mapping[str, Seed]) -> Json:
    """The document with what was made for an operation as its example. So the first phase calls
    each of these once on something that is there, whatever is drawn in the others."""
    document = deepcopy(document)
    for name, seed in seeds.items():
        method, path = name.split()
        operation = document["paths"][path][method.lower()]
        for parameter in operation["parameters"]:
            if parameter["in"] == "path":
                parameter["examples"] = {"seed": {"value": seed.names}}
        if seed.body is not None:
            [content] = operation["requestBody"]["content"].values()
            content["examples"] = {"seed": {"value": seed.body}}
    return document


def seats(site: Site) -> dict[str, Seat]:
    """An operator, a key that may only read keys, and one without a token; in a workspace made
    for them."""
    home = site.workspace()
    made = seeds(home)
    narrow = home.holder("keys:read@scheduler-*", name=f"{label('narrow')}-prod")
    return {
        seat.name: seat
        for seat in (
            Seat(name="operator", token=site.operator.token, workspace=home.id, seeds=made),
            Seat(name="narrow", token=narrow.token, seeds=made),
            Seat(name="nobody", token=None, seeds=made),
        )
    }


# --- the big one ----------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.trial")
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=3_600.0, help="begin no round after this")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    given = parser.parse_args(arguments)
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        installation = Estate(Path(folder), _no_postgres).install("sqlite")
        site = open_site(stack.enter_context(serving(installation)))
        stack.callback(site.operator.client.close)
        tallies = rounds(site, given.cases, given.seconds, given.seed)
    for name, tally in tallies.items():
        print(f"\n--- {name}")
        print("\n".join(tally.lines()))
    total = sum(tally.cases for tally in tallies.values())
    faults = sum(len(tally.faults) for tally in tallies.values())
    print(f"\n{total} cases, {faults} faults, seed {given.seed}")
    return 1 if faults else 0


def rounds(site: Site, cases: int, seconds: float, seed: int) -> dict[str, Tally]:
    """One round of all phases as each of three, then rounds of fuzzing as the operator."""
    started = time.monotonic()
    tallies = {name: Tally() for name in ("operator", "narrow", "nobody")}
    for name, seat in seats(site).items():
        run(site, seat, tallies[name], seed=seed, examples=20)
    while (
        sum(tally.cases for tally in tallies.values()) < cases
        and time.monotonic() - started < seconds
    ):
        seed += 1
        run(
            site,
            seats(site)["operator"],
            tallies["operator"],
            seed=seed,
            examples=50,
            phases=("fuzzing", "stateful"),
        )
    return tallies


def _no_postgres() -> Postgres:
    raise AssertionError("this runs on SQLite")


if __name__ == "__main__":
    sys.exit(main())
