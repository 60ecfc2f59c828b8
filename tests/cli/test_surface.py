"""The command line covers the API, each command helps with an example, and help and completion are
there without the product."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import click
import pytest

from keyturn.cli.main import COMMANDS, keyturn
from keyturn.http.app import build_app
from keyturn.http.openapi import openapi_document
from tests.cli.test_calls import calling_commands

# Each route, and the commands that call it.
ROUTES = {
    "POST /v1/workspaces": ["workspaces create"],
    "GET /v1/workspaces": ["workspaces list"],
    "GET /v1/workspaces/{id}": ["workspaces show"],
    "PATCH /v1/workspaces/{id}": ["workspaces update", "workspaces suspend", "workspaces resume"],
    "GET /v1/slots": ["slots list"],
    "GET /v1/slots/{slot}": ["slots show"],
    "PUT /v1/slots/{slot}": ["slots set"],
    "POST /v1/api-keys": ["keys create"],
    "GET /v1/api-keys": ["keys list"],
    "GET /v1/api-keys/{id}": ["keys show"],
    "PATCH /v1/api-keys/{id}": ["keys update"],
    "DELETE /v1/api-keys/{id}": ["keys revoke"],
    "POST /v1/api-keys/{id}/suspend": ["keys suspend"],
    "POST /v1/api-keys/{id}/resume": ["keys resume"],
    "GET /v1/api-keys/{id}/propagation": ["keys trace"],
    "GET /v1/api-keys/{id}/usage": ["usage"],
    "GET /v1/api-keys/{id}/impact": ["keys impact"],
    "POST /v1/api-keys/{id}/rotations": ["rotations start"],
    "GET /v1/rotations": ["rotations list"],
    "GET /v1/rotations/{id}": ["rotations show", "rotations watch"],
    "POST /v1/rotations/{id}/complete": ["rotations complete"],
    "POST /v1/rotations/{id}/rollback": ["rotations rollback"],
    "POST /v1/rotations/{id}/extend": ["rotations extend"],
    "POST /v1/rotations/{id}/brownout": ["rotations brownout"],
    "POST /v1/rotations/{id}/runtimes": ["rotations decide"],
    "POST /v1/incidents": ["incidents open", "contain"],
    "GET /v1/incidents": ["incidents list"],
    "GET /v1/incidents/{id}": ["incidents show", "incidents watch"],
    "GET /v1/incidents/{id}/report": ["incidents report"],
    "POST /v1/incidents/{id}/runtimes": ["incidents place"],
    "POST /v1/incidents/{id}/replacements": ["incidents replace"],
    "POST /v1/incidents/{id}/close": ["incidents close"],
    "POST /v1/destinations": ["destinations create"],
    "GET /v1/destinations": ["destinations list"],
    "GET /v1/destinations/{name}": ["destinations show"],
    "PATCH /v1/destinations/{name}": ["destinations update"],
    "POST /v1/destinations/{name}/prove": ["destinations prove"],
    "DELETE /v1/destinations/{name}": ["destinations delete"],
    "GET /v1/deliveries": ["deliveries list"],
    "GET /v1/deliveries/{id}": ["deliveries show"],
    "POST /v1/deliveries/{id}/retry": ["deliveries retry"],
    "POST /v1/deliveries/{id}/cancel": ["deliveries cancel"],
    "GET /v1/findings": ["findings list"],
    "GET /v1/findings/{id}": ["findings show"],
    "POST /v1/findings/{id}/acknowledge": ["findings acknowledge"],
    "POST /v1/staff-changes": ["staff-changes"],
    "GET /v1/posture": ["posture"],
    "GET /v1/posture/evidence": ["posture evidence"],
    "POST /v1/posture/waivers": ["posture waive"],
    "GET /v1/posture/waivers": ["posture waivers"],
    "DELETE /v1/posture/waivers/{id}": ["posture unwaive"],
    "POST /v1/channels": ["channels create"],
    "GET /v1/channels": ["channels list"],
    "GET /v1/channels/{id}": ["channels show"],
    "PATCH /v1/channels/{id}": ["channels update"],
    "DELETE /v1/channels/{id}": ["channels delete"],
    "POST /v1/channels/{id}/secrets": ["channels rotate-secret"],
    "POST /v1/channels/{id}/test": ["channels test"],
    "POST /v1/channels/{id}/replay": ["channels replay"],
    "GET /v1/messages": ["messages list"],
    "GET /v1/messages/{id}": ["messages show"],
    "POST /v1/messages/{id}/replay": ["messages replay"],
    "GET /v1/self": ["self"],
    "GET /v1/requests": ["requests list"],
    "GET /v1/activity-logs": ["activity list"],
    "POST /v1/verify": ["verify"],
}
FOR_MACHINES = {"GET /", "GET /healthz", "GET /readyz", "GET /metrics", "GET /openapi.json"}
# How a parameter or a member is called on the command line, where it is not its own name.
CALLED = {
    "id": {
        "key",
        "id_",
        "rotation",
        "incident",
        "finding",
        "delivery",
        "channel",
        "message",
        "waiver",
    },
    "channel_id": {"channel"},
    "from": {"since"},
    "to": {"until"},
    "url": {"receiver"},
    "key_id": {"key"},
    "key_ids": {"keys"},
    "tokens": {"token_file"},
    "select": {"slot"},
    "containment": {"is_suspended"},
    "format": {"form"},
    "rotation_id": {"rotation"},
    "config": {"config_file"},
    "credential": {"credential_file"},
    "If-Match": {"version"},
    "If-None-Match": {"is_new"},
    "Idempotency-Key": {"idempotency_key"},
    "Keyturn-Min-Position": {"min_position"},
    "Prefer": {"respond_async"},
    "Keyturn-Workspace": {"workspace"},
    "rotation_policy": {"rotation_period_days", "most_rotations_at_once", "windows"},
}
NEEDED_BY_NOBODY = {
    "cursor": "a list goes on by itself, with --limit and --all",
    "count": "`--all --quiet | wc -l`",
    "X-Request-Id": "the client makes one, and tells it where something fails",
    "Keyturn-Runtime": "a person is no workload",
}
ELSEWHERE = {
    ("POST /v1/verify", "api_key"): "by standard input or --file",
    ("POST /v1/channels", "kind"): "--to makes it a webhook, the other options mail",
    ("PATCH /v1/workspaces/{id}", "status"): "the commands suspend and resume",
    ("GET /v1/posture/evidence", "limit"): "evidence is whole",
    **{
        (f"POST /v1/{route}", "Prefer"): "a person waits for it, at most 10 s"
        for route in (
            *(f"rotations/{{id}}/{verb}" for verb in ("complete", "rollback", "extend")),
            *(f"rotations/{{id}}/{verb}" for verb in ("brownout", "runtimes")),
            *("incidents", "incidents/{id}/runtimes", "incidents/{id}/close"),
        )
    },
}


def document() -> Any:
    app: Any = SimpleNamespace(version="")
    return json.loads(openapi_document(build_app(app)))


def command(words: str) -> click.Command:
    found: click.Command = keyturn
    for word in words.split():
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found, info_name=words), word)
        assert inner is not None, words
        found = inner
    return found


def operations() -> Iterator[tuple[str, Any]]:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def members(operation: Any, schemas: Any) -> Iterator[str]:
    """What a call takes: its parameters, and the members of its body."""
    yield from (one["name"] for one in operation.get("parameters", ()))
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    for one in schema.get("anyOf", [schema]):  # a body that may be left out is one of two
        if "$ref" in one:
            yield from schemas[one["$ref"].rpartition("/")[2]]["properties"]


def test_every_route_has_a_command() -> None:
    assert {route for route, _ in operations()} - FOR_MACHINES == set(ROUTES)
    named = {tuple(one.split()) for all_ in ROUTES.values() for one in all_}
    others = {
        ("apply",),
        ("slots", "export"),
        ("activity", "verify"),
        ("drill", "rotation"),
        ("drill", "revocation"),
    }
    assert named == set(calling_commands()) - others


def test_all_that_a_route_takes_is_an_option_of_its_command() -> None:
    schemas = document()["components"]["schemas"]
    missing = []
    for route, operation in operations():
        if route in FOR_MACHINES:
            continue
        options = {one.name for one in command(ROUTES[route][0]).params}
        options |= {str(name).replace("takes_", "") for name in options}
        for member in members(operation, schemas):
            known = CALLED.get(member, set()) | {member}
            is_elsewhere = member in NEEDED_BY_NOBODY or (route, member) in ELSEWHERE
            if not known & options and not is_elsewhere:
                missing.append(f"{route}: {member}")
    assert missing == []


def leaves(found: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(found, click.Group):
        yield name, found
        return
    if found.invoke_without_command and name:
        yield name, found
    context = click.Context(found, info_name=name)
    for inner in found.list_commands(context):
        one = found.get_command(context, inner)
        assert one is not None
        yield from leaves(one, f"{name} {inner}".strip())


MINE = [
    name
    for name, _ in leaves(keyturn, "")
    if tuple(name.split()) in set(calling_commands()) or name.startswith(("operators", "compl"))
]


@pytest.mark.parametrize("name", MINE)
def test_help_is_there_by_either_name_with_an_example_of_what_takes_arguments(name: str) -> None:
    found = command(name)
    context = click.Context(
        found, info_name=f"keyturn {name}", help_option_names=["-h", "--help"], terminal_width=80
    )
    text = found.get_help(context)
    assert "-h, --help" in text
    if any(isinstance(one, click.Argument) for one in found.params):
        assert re.search(rf"^ +(?:\w+ +)?keyturn {name} ", text, re.MULTILINE), text
    for one in found.params:
        is_told = (
            isinstance(one, click.Argument)
            or bool(getattr(one, "help", ""))
            or one.name
            in {
                *("service", "environment", "owner", "name", "runtime", "status", "category"),
                *("resource_id", "limit", "user_agent", "method", "path", "bucket"),
            }
        )
        assert is_told, one.name


HEAVY = {"httpx2", "sqlalchemy", "fastapi", "cryptography", "pydantic", "uvicorn", "ruamel"}


def loaded_after(program: str, **settings: str) -> tuple[str, set[str]]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\nprint(*sys.modules, file=sys.stderr)"],
        env=dict(os.environ) | settings,
        capture_output=True,
        text=True,
        timeout=60,
    )
    modules = {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}
    modules |= set(done.stderr.splitlines()[-1].split())
    return done.stdout, modules


def test_help_of_every_calling_command_loads_nothing_that_a_light_install_has_not() -> None:
    names = [words for words in calling_commands() if words != ("apply",)]
    names.remove(("activity", "verify"))
    program = "from keyturn.cli.main import run\n" + "\n".join(
        f"run({[*words, '-h']!r})" for words in names
    )
    shown, modules = loaded_after(program)
    assert shown.count("Usage: keyturn") == len(names)
    assert not HEAVY & modules
    assert not {one for one in modules if one.startswith(("keyturn.server", "keyturn.storage"))}


def completed(line: str, incomplete: str) -> tuple[list[str], set[str]]:
    words = f"keyturn {line} {incomplete}".replace("  ", " ")
    shown, modules = loaded_after(
        "from keyturn.cli.main import run\ntry: run([])\nexcept SystemExit: pass",
        _KEYTURN_COMPLETE="bash_complete",
        COMP_WORDS=words,
        COMP_CWORD=str(len(line.split()) + 1),
    )
    return [row.partition(",")[2] for row in shown.splitlines()], modules


@pytest.mark.parametrize(
    ("line", "incomplete", "found"),
    [
        ("", "wor", ["workspaces"]),
        ("keys", "re", ["resume", "revoke"]),
        ("incidents", "re", ["replace", "report"]),
        ("incidents close --outcome", "fa", ["false_alarm"]),
        ("keys revoke", "--rea", ["--reason"]),
        ("keys revoke --reason", "comp", ["compromised"]),
        ("completion", "", ["bash", "zsh", "fish"]),
    ],
)
def test_completion_knows_commands_options_and_choices_and_loads_nothing_heavy(
    line: str, incomplete: str, found: list[str]
) -> None:
    shown, modules = completed(line, incomplete)
    assert sorted(shown) == sorted(found)
    assert not HEAVY & modules


def test_a_real_bash_completes(tmp_path: Any) -> None:
    keyturn_program = tmp_path / "keyturn"
    keyturn_program.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from keyturn.cli import main; main()" "$@"\n'
    )
    keyturn_program.chmod(0o755)
    script = """
        eval "$(keyturn completion bash)" || exit 1
        complete -p keyturn > registered
        COMP_WORDS=(keyturn keys revo); COMP_CWORD=2
        function=$(sed -n 's/.*-F \\([^ ]*\\).*/\\1/p' registered)
        "$function" keyturn revo keys
        echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=dict(os.environ) | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.strip(), done.stderr) == ("revoke", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str) -> None:
    shown, modules = loaded_after(
        f"from keyturn.cli.main import run\nrun(['completion', {shell!r}])"
    )
    assert f"_KEYTURN_COMPLETE={shell}_complete" in shown
    assert not HEAVY & modules


def test_the_first_page_of_help_names_every_command() -> None:
    assert {words[0] for words in calling_commands()} <= set(COMMANDS.lazies)
