"""`keyturn self`: what your own token is, and what it may do."""

from typing import TYPE_CHECKING

import click

from keyturn.cli.connection import calling
from keyturn.cli.naming import short
from keyturn.cli.output import Output, spelled
from keyturn.client.resources import RotationNotice

if TYPE_CHECKING:
    from keyturn.client import Keyturn


@click.command("self")
@calling
def self_(client: "Keyturn", output: Output) -> None:
    """Show what the presented token is, and what it may do."""
    found = client.whoami()
    if output.as_json:
        output.json(found)
        return
    holder = found.operator or found.key
    if output.is_quiet:
        output.say("" if holder is None else holder.id)
        return
    output.record(
        [
            (
                "is",
                {"api_key": "a key", "operator": "an operator", "gateway": "a gateway"}.get(
                    found.type, found.type
                ),
            ),
            ("name", None if holder is None else holder.name),
            ("id", None if holder is None else holder.id),
            ("slot", found.slot),
            ("workspace", found.workspace_id or "all"),
            ("scopes", found.scopes),
            ("permissions", found.permissions),
            ("expires", found.expires_at or "never"),
            *([] if found.rotation is None else [("rotation", _told(found.rotation))]),
        ]
    )


def _told(notice: RotationNotice) -> str:
    if notice.role == "new":
        return f"this is the new key of {short(notice.rotation_id)}, the old one still works"
    by = "soon" if notice.sunset is None else f"by {spelled(notice.sunset)} (UTC)"
    return f"this key is being replaced ({short(notice.rotation_id)}): take the new one {by}"
