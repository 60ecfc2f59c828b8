"""What must be there before an operation can succeed, and no schema tells: an open rotation with a
runtime that was seen, a delivery that waits, a destination.

Each operation has a thing of its own, whose id no answer tells before it is called: nothing that is
drawn can have ended it by then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.acceptance.api import Json, Workspace, expect, label
from tests.acceptance.delivering import connect, waiting_delivery
from tests.acceptance.rotating import YEAR, rotate, used_key

_FORCED = {"force": True, "reason": "For a trial."}


@dataclass(frozen=True, kw_only=True)
class Seed:
    """What a path names, and a body that is accepted there; None where there is none to give."""

    names: str | None = None
    body: Json = None


def seeds(home: Workspace) -> Mapping[str, Seed]:
    """By operation."""
    steps = {
        "extend": {"overlap_seconds": YEAR // 2},
        "runtimes": {"runtime": "worker", "standing": "ours"},
        "brownout": {"brownout_seconds": 1},
        "complete": _FORCED,
        "rollback": _FORCED,
    }
    return {
        "POST /v1/destinations": Seed(body={"name": "sown", "kind": "file", "config": {}}),
        "PATCH /v1/destinations/{name}": Seed(
            names=_destination(home), body={"config": {"path": "changed/{slot}"}}
        ),
        "DELETE /v1/destinations/{name}": Seed(names=_destination(home)),
        "GET /v1/deliveries/{id}": Seed(names=waiting_delivery(home)),
        "POST /v1/deliveries/{id}/retry": Seed(names=waiting_delivery(home)),
        "POST /v1/deliveries/{id}/cancel": Seed(
            names=waiting_delivery(home), body={"reason": "For a trial."}
        ),
        "POST /v1/incidents": Seed(body={"key_ids": [home.admin.create(name=_name()).id]}),
        "GET /v1/incidents/{id}": Seed(names=_incident(home)),
        "GET /v1/incidents/{id}/report": Seed(names=_incident(home)),
        "POST /v1/incidents/{id}/runtimes": Seed(
            names=_incident(home), body={"runtime": "worker", "standing": "ours"}
        ),
        "POST /v1/incidents/{id}/replacements": Seed(names=_incident(home), body={}),
        "POST /v1/incidents/{id}/close": Seed(
            names=_incident(home, containment="suspend"), body={"outcome": "false_alarm"}
        ),
        "POST /v1/posture/waivers": Seed(body=_waiver()),
        "DELETE /v1/posture/waivers/{id}": Seed(
            names=str(expect(home.admin.post("/v1/posture/waivers", _waiver()), 201)["id"])
        ),
        "POST /v1/api-keys/{id}/rotations": Seed(names=used_key(home, name=_name()).id, body={}),
        "GET /v1/rotations/{id}": Seed(names=_rotation(home)),
        **{
            f"POST /v1/rotations/{{id}}/{step}": Seed(names=_rotation(home), body=body)
            for step, body in steps.items()
        },
    }


def _name() -> str:
    return f"{label('sown')}-prod"


def _destination(home: Workspace) -> str:
    name = label("sown")
    return str(connect(home, name, f"{name}/{{slot}}")["name"])


def _rotation(home: Workspace) -> str:
    """One that waits for a runtime for as long as any run takes."""
    return rotate(home, used_key(home, name=_name())).id


def _incident(home: Workspace, **members: str) -> str:
    asked = {"key_ids": [home.admin.create(name=_name()).id], **members}
    return str(expect(home.admin.post("/v1/incidents", asked), 201)["id"])


def _waiver() -> Json:
    until = datetime.now(UTC) + timedelta(days=30)
    return {"check": "keys.networks", "reason": "For a trial.", "until": until.isoformat()}
