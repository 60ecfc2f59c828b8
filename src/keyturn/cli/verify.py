"""`keyturn verify`: may this token do this now?"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.connection import calling
from keyturn.cli.ending import NO
from keyturn.cli.naming import short
from keyturn.cli.output import Output, spelled
from keyturn.client.configuration import read_token
from keyturn.client.resources import Deprecation, Verdict

if TYPE_CHECKING:
    from keyturn.client import Keyturn

_LONGEST = 4_096


@click.command()
@click.option(
    "--file",
    "token_file",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Where the token to be judged stands; default: standard input.",
)
@click.option("--scope", "scopes", multiple=True, metavar="WORD", help="May be repeated.")
@click.option("--ip", metavar="ADDRESS", help="Where the request came from.")
@click.option("--runtime", metavar="NAME", help="The workload that declared itself.")
@click.option("--user-agent", metavar="TEXT")
@click.option("--method", metavar="WORD")
@click.option("--path", metavar="PATH")
@click.option("--environment", metavar="WORD", help="Where the service that asks runs.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: TEXT'",
    help="A header of the request, like Origin. May be repeated.",
)
@click.option("--request-id", metavar="ID", help="The id of the request that it came with.")
@click.option(
    "--min-position",
    type=click.IntRange(0),
    metavar="N",
    help="At least as new as this position of the log: `as_of` of another answer.",
)
@calling
def verify(
    client: "Keyturn",
    output: Output,
    token_file: str | None,
    scopes: tuple[str, ...],
    ip: str | None,
    runtime: str | None,
    user_agent: str | None,
    method: str | None,
    path: str | None,
    environment: str | None,
    headers: tuple[str, ...],
    request_id: str | None,
    min_position: int | None,
) -> None:
    """Ask whether a token may do this now. It is recorded as a use of the key.

    The token is read from standard input or a file, never from the command line. Ends with 3 where
    the token is denied.

    \b
    Examples:
      keyturn verify --scope read < scheduler.token
      keyturn verify --file scheduler.token --ip 203.0.113.7 --json
    """
    members = _members(headers)
    verdict = client.verify(
        _presented(token_file),
        scopes=scopes or None,
        ip=ip,
        runtime=runtime,
        user_agent=user_agent,
        method=method,
        path=path,
        environment=environment,
        headers=members,
        request_id=request_id,
        min_position=min_position,
    )
    _show(output, verdict)
    if not verdict.valid:
        raise click.exceptions.Exit(NO)


def _presented(token_file: str | None) -> str:
    if token_file not in (None, "-"):
        text = read_token(Path(str(token_file)))
    elif sys.stdin.isatty():
        text = click.prompt("Token", hide_input=True, err=True)
    else:
        text = sys.stdin.buffer.read(_LONGEST).decode(errors="replace").strip()
    if not text:
        raise click.UsageError("There is no token to judge: give it by standard input or --file.")
    return str(text)


def _members(headers: tuple[str, ...]) -> dict[str, str] | None:
    members = {}
    for header in headers:
        name, colon, text = header.partition(":")
        if not colon or not name.strip():
            raise click.UsageError("--header takes a name and a text: 'Origin: https://a.example'.")
        members[name.strip()] = text.strip()
    return members or None


def _show(output: Output, verdict: Verdict) -> None:
    key = verdict.key
    if output.as_json:
        output.json(verdict)
    elif output.is_quiet:
        if key is not None:
            output.say(key.id)
    else:
        output.record(
            [
                ("verdict", verdict.code),
                ("request", verdict.request_id),
                *(
                    []
                    if key is None
                    else [
                        ("key", f"{key.name} ({short(key.id)})"),
                        ("owner", key.owner),
                        ("scopes", key.scopes),
                    ]
                ),
                *(
                    []
                    if verdict.deprecation is None
                    else [("rotation", _told(verdict.deprecation))]
                ),
                *(
                    []
                    if verdict.grace is None
                    else [("grace", f"{verdict.grace.late_seconds:,} s older than promised")]
                ),
            ]
        )


def _told(notice: Deprecation) -> str:
    by = "" if notice.sunset is None else f" by {spelled(notice.sunset)} (UTC)"
    return f"this key is being replaced ({short(notice.rotation_id)}): its callers must move{by}"
