"""Kills of what is no call: `init`, `operators create`, and the start of a server with its first
tidying. Each names the points that it passes, and judges what a kill at one of them left."""

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from tests.acceptance.servers import until
from tests.kills.figures import Figures
from tests.kills.launcher import DAYS_AGO
from tests.kills.sites import MortalPlace, Site, died

OLD_DAYS = 3
TIDY_SECONDS = 20.0
# Beside a running server it is a matter of time which of the two signs the head of the log.
SIGNING = "activity.heads"
SIGNING_TRIES = 6

BuildPlace = Callable[[], MortalPlace]


class NotPassed(AssertionError):
    """What was to be killed at a point has ended without having come there."""

    def __init__(self) -> None:
        super().__init__("not passed")


class Command(Protocol):
    """Something that is begun from a command line and killed."""

    name: str

    def survey(self) -> list[str]:
        """The points that it passes."""
        ...

    def die(self, point: str, figures: Figures) -> None:
        """Kills it at the point and looks at what is left. Raises `AssertionError` where that is
        no whole."""
        ...


def run_command(command: Command, points: Iterable[str], figures: Figures) -> None:
    for point in points:
        try:
            _die(command, point, figures)
        except AssertionError as fault:
            figures.half += 1
            figures.faults.append(f"{point}: {fault}")
        else:
            figures.points += 1
            figures.kills += 1


def _die(command: Command, point: str, figures: Figures) -> None:
    for _ in range(SIGNING_TRIES - 1 if SIGNING in point else 0):
        try:
            return command.die(point, figures)
        except NotPassed:
            continue
    return command.die(point, figures)


def _points(place: MortalPlace, name: str) -> list[str]:
    return [one for one in dict.fromkeys(place.points) if one.startswith(f"{name}/")]


class Init:
    """`keyturn init`, in a place of its own each time; repeated, it ends what it had begun."""

    name = "init"

    def __init__(self, build_place: BuildPlace) -> None:
        self._build_place = build_place

    def survey(self) -> list[str]:
        place = self._build_place()
        place.run("init", **place.noting(self.name)).done()
        return _points(place, self.name)

    def die(self, point: str, figures: Figures) -> None:
        place = self._build_place()
        if not died(place.start("init", **place.mortal(point, at_once=True))):
            raise NotPassed
        secret = place.home / "root.secret"
        kept = secret.read_bytes() if secret.exists() else None
        again = place.run("init")
        if again.code:
            again.refused("There is an installation already.")
        assert kept in (None, secret.read_bytes()), "the root secret is another one"
        drafts = [file.name for file in place.home.iterdir() if ".draft" in file.name]
        assert not drafts, drafts
        site = Site(place=place)
        site.start()
        figures.started(site.readiness[-1])
        assert site.ask("GET", "/v1/self", place.token)["operator"]["name"] == "first operator"
        assert len(site.ask("GET", "/v1/workspaces", place.token)) == 1
        assert not (faults := site.faults()), faults
        site.kill()


class OperatorsCreate:
    """`keyturn operators create`, beside a running server."""

    name = "operators-create"

    def __init__(self, site: Site) -> None:
        self._site = site
        self._numbers = itertools.count(1)

    @property
    def _file(self) -> Path:
        return self._site.place.folder / "ada.token"

    def _arguments(self, name: str) -> tuple[str, ...]:
        self._file.unlink(missing_ok=True)
        return ("operators", "create", "--name", name, "--output", self._file.name)

    def survey(self) -> list[str]:
        place = self._site.place
        place.run(*self._arguments("first"), **place.noting(self.name)).done()
        return _points(place, self.name)

    def die(self, point: str, figures: Figures) -> None:
        site, name = self._site, f"ada{next(self._numbers)}"
        place, file = site.place, self._file
        command = place.start(*self._arguments(name), **place.mortal(point, at_once=True))
        if not died(command):
            raise NotPassed
        made = [row for row in site.ledger().rows("operators") if row["name"] == name]
        assert len(made) <= 1
        if file.exists():
            assert made, "a token without its operator"
            told = site.ask("GET", "/v1/self", file.read_text().strip())
            assert told["operator"]["id"] == made[0]["id"]
            figures.answered += 1
        else:
            figures.unanswered += 1
            place.run(*self._arguments(name)).done()
            assert site.ask("GET", "/v1/self", file.read_text().strip())
        assert not (faults := site.faults()), faults


class Start:
    """The start of a server that finds much to tidy: old requests, entries and answers."""

    name = "start"

    def __init__(self, site: Site) -> None:
        self._site = site

    def survey(self) -> list[str]:
        site = self._site
        self._live_long_ago()
        site.start(**site.place.noting(self.name))
        assert self._is_tidy(), "it does not tidy"
        site.kill()
        return [point for point in _points(site.place, self.name) if _is_of_the_start(point)]

    def die(self, point: str, figures: Figures) -> None:
        site = self._site
        self._live_long_ago()
        if not died(site.place.start("serve", **site.place.mortal(point, at_once=True))):
            raise NotPassed
        site.start()
        figures.started(site.readiness[-1])
        try:
            assert self._is_tidy(), "what is old does not go"
            assert not (faults := site.faults()), faults
        finally:
            site.kill()

    def _live_long_ago(self) -> None:
        """A server makes a key and records requests, days ago, and ends."""
        site = self._site
        server = site.start(**{DAYS_AGO: str(OLD_DAYS)})
        body = {"name": "old-prod"}
        once = {"Idempotency-Key": f"once-{len(site.readiness)}"}
        site.ask("POST", "/v1/api-keys", site.place.token, body, **once)
        # What is tidied is older than the newest entry.
        site.ask("POST", "/v1/api-keys", site.place.token, body)
        assert server.stop().code == 0

    def _is_tidy(self) -> bool:
        """Whether all that is old goes, soon; what is young stays."""
        return until(lambda: not any(self._old()), TIDY_SECONDS)

    def _old(self) -> list[int]:
        with self._site.place.database() as ask:
            end = ask("SELECT max(created_at) FROM activity")[0][0]
            return [
                ask("SELECT count(*) FROM requests WHERE at <= ?", end)[0][0],
                # What the start itself has found is young.
                ask("SELECT count(*) FROM activity WHERE action NOT LIKE 'finding.%'")[0][0],
                ask("SELECT count(*) FROM idempotency")[0][0],
            ]


def _is_of_the_start(point: str) -> bool:
    thread, parted, _ = point.partition("/")[2].partition(": ")
    return not parted or (thread == "tidying" and "#" not in point)
