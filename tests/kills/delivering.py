"""Kills between the start of a rotation and the arrival of its token: in the call that starts it,
in the attempt that brings the token to a file, and in the file system's own steps.

After each the place holds one whole token of a key that works, and the server that is started next
brings the new one there by itself: once, with one entry.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.servers import until
from tests.kills.figures import Figures
from tests.kills.named import is_weighty
from tests.kills.operations import Stage, open_stage, word
from tests.kills.sites import Json, Reply, Site, died

NAME = "deliver"
PATIENCE_SECONDS = 30.0
# Whose steps they are: of the call itself, and of the attempt.
_OWN = ("", "delivery: ")
TERMS = {"auto_complete": False, "quiet_seconds": 0, "brownout_seconds": 0}


@dataclass(slots=True, kw_only=True)
class Way:
    """A slot whose token is in a file, and the key that is to be replaced."""

    stage: Stage
    slot: str
    old: Json = field(repr=False)

    @property
    def file(self) -> Path:
        home = self.stage.site.place.home
        return home / "delivered" / self.stage.workspace_id / self.slot / "token"

    def value(self) -> str:
        return self.file.read_text(encoding="ascii") if self.file.exists() else ""

    def start(self, request_id: str) -> Reply | None:
        path = f"/v1/api-keys/{self.old['id']}/rotations"
        headers = {"X-Request-Id": request_id}
        return self.stage.site.call("POST", path, self.stage.admin, TERMS, headers)

    def rotations(self) -> list[Json]:
        found = self.stage.ask("GET", f"/v1/rotations?slot={self.slot}")
        assert isinstance(found, list)
        return found

    def holder(self) -> Json:
        """What the door says of the token that lies there."""
        text = self.value()
        assert text.endswith("\n"), "half a token"
        token = text.removesuffix("\n")
        asked = {"api_key": token}
        return self.stage.site.ask("POST", "/v1/verify", self.stage.operator, asked)


def open_way(stage: Stage) -> Way:
    if not stage.ask("GET", "/v1/destinations"):
        draft = {"name": "files", "kind": "file", "config": {"path": "{slot}/token"}}
        assert stage.ask("POST", "/v1/destinations", draft)["state"] == "proven"
    slot = word("slot")
    stage.ask("PUT", f"/v1/slots/{slot}", {"destinations": ["files"]})
    old = stage.ask("POST", "/v1/api-keys", {"name": slot})
    assert old["api_key"] is None
    way = Way(stage=stage, slot=slot, old=old)
    assert until(lambda: way.value() != "", PATIENCE_SECONDS)
    return way


def survey_delivery(site: Site) -> list[str]:
    """The points on the way, in their order."""
    site.start(**site.place.noting())
    way = open_way(open_stage(site))
    before = way.value()
    assert way.start(f"at.{NAME}.1") is not None
    assert until(lambda: way.value() != before and _has_arrived(way), PATIENCE_SECONDS)
    site.kill()
    passed = dict.fromkeys(site.place.points)
    return [
        one
        for one in passed
        if any(one.startswith(f"{NAME}/{whose}") for whose in _OWN)
        and ("delivery: " in one or ": " not in one)
        and is_weighty(one)
    ]


def _has_arrived(way: Way) -> bool:
    """Looked up behind its back: a call would end the operation."""
    rows = [one for one in way.stage.site.ledger().rows("deliveries") if one["state"] == "waiting"]
    return not rows


class DeliveryKills:
    """Kills one site's server at one point of the way after the other."""

    def __init__(self, site: Site, figures: Figures) -> None:
        self._site = site
        self._figures = figures
        self._stage: Stage | None = None

    def run(self, points: Iterable[str]) -> None:
        last: tuple[str, Way, Reply | None] | None = None
        for point in points:
            self._start(**self._site.place.mortal(point))
            self._judge(last)
            self._stage = self._stage or open_stage(self._site)
            way = open_way(self._stage)
            server = self._site.server
            assert server is not None
            reply = way.start(f"at.{NAME}.{self._figures.points}")
            if not died(server):
                self._figures.faults.append(f"{point} was not passed")
                server.kill()
                last = None
                continue
            self._figures.points += 1
            self._figures.kills += 1
            last = (point, way, reply)
        self._start()
        self._judge(last)
        self._site.kill()

    def _start(self, **settings: str) -> None:
        self._site.start(**settings)
        self._figures.started(self._site.readiness[-1])

    def _judge(self, last: tuple[str, Way, Reply | None] | None) -> None:
        if last is None:
            return
        point, way, reply = last
        faults = self._site.faults()
        try:
            _require_good_end(way, reply)
        except AssertionError as fault:
            faults.append(str(fault))
        self._figures.half += len(faults)
        self._figures.faults += [f"{point}: {fault}" for fault in faults]


def _require_good_end(way: Way, reply: Reply | None) -> None:
    """Raises `AssertionError` where something was lost, doubled, or is left lying."""
    found = way.rotations()
    assert len(found) <= 1, "more than one rotation"
    assert found or reply is None, "an answered rotation is missing"
    assert way.holder()["valid"], "the place holds a token that does not work"
    if not found:
        found = [way.stage.ask("POST", f"/v1/api-keys/{way.old['id']}/rotations", TERMS)]
    [rotation] = found
    new = rotation["new_key_id"]
    assert until(lambda: _is_delivered(way, new), PATIENCE_SECONDS), "it is not delivered by itself"
    assert way.holder()["key"]["id"] == new
    [delivery] = way.stage.ask("GET", f"/v1/deliveries?key_id={new}")
    ledger = way.stage.site.ledger()
    told = Counter(
        row["action"]
        for row in ledger.rows("activity")
        if row["resource_id"] == delivery["id"] and row["status"] == "success"
    )
    assert told == {"delivery.created": 1, "delivery.delivered": 1}, dict(told)
    left = [one.name for one in way.file.parent.iterdir()]
    assert left == ["token"], f"left behind: {left}"


def _is_delivered(way: Way, key_id: str) -> bool:
    [delivery] = way.stage.ask("GET", f"/v1/deliveries?key_id={key_id}")
    return bool(delivery["state"] == "delivered")
