"""A storm: several clients change keys through HTTP while something is killed at random moments."""

import itertools
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.acceptance.servers import until
from tests.kills.figures import Figures
from tests.kills.grounds import OwnPostgres
from tests.kills.journal import History, Outcome, Step, hold
from tests.kills.sites import Json, Reply, Site

CLIENTS = 4
LONGEST_PEACE_SECONDS = 0.4
PATIENCE_SECONDS = 60.0

_ENDS = {"suspend": "suspended", "resume": "active", "revoke": "revoked"}
# Says the refusal of a database that certainly did not carry a change out.
_CERTAIN = "The database did not carry this out; try again."


@dataclass(slots=True, kw_only=True)
class Known:
    """A key as its client believes it to be."""

    history: History
    status: str
    scopes: list[str]
    version: int


class Client(threading.Thread):
    """Makes keys and moves them, one call after the other, and remembers each."""

    def __init__(
        self, site: Site, number: int, seed: int, token: str, over: threading.Event
    ) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self.keys: list[Known] = []
        self.faults: list[str] = []
        self.refusals = 0
        self._site = site
        self._token = token
        self._over = over
        self._chance = random.Random(f"{seed} {number}")
        self._prefix = f"storm-{number}"
        self._numbers = itertools.count(1)

    def run(self) -> None:
        try:
            while not self._over.is_set():
                self._step()
        except Exception as error:  # noqa: BLE001  (a client that dies silently would prove nothing)
            self.faults.append(f"{self.name}: {error!r}")

    def _step(self) -> None:
        living = [key for key in self.keys if key.status != "revoked"]
        if len(living) < 2 or self._chance.random() < 0.2:
            self._create()
            return
        key = self._chance.choice(living if self._chance.random() < 0.8 else self.keys)
        verb = self._chance.choice(("patch", "patch", "suspend", "resume", "revoke", "verify"))
        if verb == "verify" or key.status == "revoked":
            self._verify(key)
        elif _ENDS.get(verb) != key.status:
            self._move(key, verb)

    def _call(self, method: str, path: str, body: Json = None, **headers: str) -> Reply | None:
        reply = self._site.call(method, path, self._token, body, headers)
        self.refusals += reply is not None and reply.status == 503
        return reply

    def _label(self) -> str:
        return f"{self._prefix}-{next(self._numbers)}"

    # --- changes ---------------------------------------------------------------------------------

    def _create(self) -> None:
        """Sent again with its idempotency key until it is answered."""
        name = f"{self._label()}-prod"
        step = Step(verb="create", ids=[], outcome=Outcome.DONE, version=1, scopes=["a"])

        def attempt() -> Reply | None:
            step.ids.append(self._label())
            headers = {"Idempotency-Key": name, "X-Request-Id": step.ids[-1]}
            body = {"name": name, "scopes": ["a"]}
            return self._call("POST", "/v1/api-keys", body, **headers)

        reply = self._until_answered(attempt)
        if reply.status != 201:
            raise AssertionError(f"create: {reply.status} {reply.body}")
        history = History(key_id=reply.body["id"], token=reply.body["api_key"], steps=[step])
        self.keys.append(Known(history=history, status="active", scopes=["a"], version=1))

    def _move(self, key: Known, verb: str) -> None:
        """Sent once; where it was not answered, the key is looked at."""
        step = Step(verb=verb, ids=[self._label()], outcome=Outcome.UNKNOWN)
        path, headers = f"/v1/api-keys/{key.history.key_id}", {"X-Request-Id": step.ids[0]}
        if verb == "patch":
            step.scopes = [self._label()]
            reply = self._call("PATCH", path, {"scopes": step.scopes}, **headers)
        elif verb == "revoke":
            reply = self._call("DELETE", path, **headers)
        else:
            reply = self._call("POST", f"{path}/{verb}", **headers)
        key.history.steps.append(step)
        if reply is not None and reply.status in (200, 204):
            step.outcome = Outcome.DONE
            step.version = key.version + 1
            if reply.status == 200 and reply.body["version"] != step.version:
                self.faults.append(f"{verb} was answered in version {reply.body['version']}")
        elif reply is not None and reply.status != 503:
            raise AssertionError(f"{verb}: {reply.status} {reply.body}")
        elif reply is not None and reply.body["detail"] == _CERTAIN:
            step.outcome = Outcome.REFUSED
        self._learn(key, step)

    def _learn(self, key: Known, step: Step) -> None:
        """The key after a step; where its outcome is not known, one of two states."""
        before = (key.status, key.scopes, key.version)
        after = (_ENDS.get(step.verb, key.status), step.scopes or key.scopes, key.version + 1)
        if step.outcome is Outcome.DONE:
            key.status, key.scopes, key.version = after
        elif step.outcome is Outcome.UNKNOWN:
            path = f"/v1/api-keys/{key.history.key_id}"
            body = self._until_answered(lambda: self._call("GET", path)).body
            key.status, key.scopes, key.version = told = (
                body["status"],
                body["scopes"],
                body["version"],
            )
            if told not in (before, after):
                self.faults.append(f"{step.verb} by half: {before}, {after}, {told}")

    def _verify(self, key: Known) -> None:
        if key.history.token is None:
            return
        reply = self._call("POST", "/v1/verify", {"api_key": key.history.token})
        if reply is None or reply.status == 503:
            return
        expected = "valid" if key.status == "active" else key.status
        if reply.status != 200 or reply.body["code"] != expected:
            self.faults.append(f"a key that is {key.status}: {json.dumps(reply.body.get('code'))}")

    def _until_answered(self, attempt: Callable[[], Reply | None]) -> Reply:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            reply = attempt()
            if reply is not None and reply.status != 503:
                return reply
            time.sleep(0.02)
        raise AssertionError("no answer for a long time")


class Storm:
    """Clients at work on one site, each with keys of its own in one workspace."""

    def __init__(self, site: Site, seed: int, figures: Figures) -> None:
        self.site = site
        self.figures = figures
        self._over = threading.Event()
        server = site.start()
        assert server is site.server
        self._token = site.place.token
        body = {"name": "storm"}
        self._admin = site.ask("POST", "/v1/workspaces", self._token, body)["api_key"]
        self._clients = [
            Client(site, number, seed, self._admin, self._over) for number in range(CLIENTS)
        ]
        for client in self._clients:
            client.start()

    @property
    def refusals(self) -> int:
        """How many calls were answered with 503 so far."""
        return sum(client.refusals for client in self._clients)

    def end(self) -> None:
        """Lets the clients finish, and holds what they remember against what is there."""
        self._over.set()
        for client in self._clients:
            client.join(PATIENCE_SECONDS)
            if client.is_alive():
                self.figures.faults.append(f"{client.name} hangs")
            self.figures.faults += client.faults
        known = [key for client in self._clients for key in client.keys]
        states = hold([key.history for key in known], self.site.ledger(), self.figures)
        for key in known:
            self._look_at(key)
            state = states[key.history.key_id]
            if (state.status, state.scopes) != (key.status, key.scopes):
                self.figures.lost += 1
                self.figures.faults.append(f"{key.history.key_id} is not as its client knows it")
        listed = self._listed()
        if listed != {key.history.key_id for key in known}:
            self.figures.half += 1
            self.figures.faults.append(f"{len(listed)} keys stand there, {len(known)} were made")
        self.figures.faults += self.site.faults()
        self.site.kill()

    def _look_at(self, key: Known) -> None:
        told = self.site.ask("GET", f"/v1/api-keys/{key.history.key_id}", self._admin)
        if (told["status"], told["scopes"], told["version"]) != (
            key.status,
            key.scopes,
            key.version,
        ):
            self.figures.lost += 1
            self.figures.faults.append(f"{key.history.key_id} is not as its client left it")
        if key.history.token is not None:
            verdict = self.site.verdict(key.history.token, self._admin)
            if verdict != ("valid" if key.status == "active" else key.status):
                self.figures.lost += 1
                self.figures.faults.append(f"a key that is {key.status} is judged {verdict}")

    def _listed(self) -> set[str]:
        """All keys of the workspace but its administrator's."""
        rows = self.site.ledger().rows("keys")
        home = {row["workspace_id"] for row in rows if row["name"].startswith("storm-")}
        return {
            row["id"]
            for row in rows
            if row["workspace_id"] in home and row["name"] != "administrator"
        }


def kill_servers(site: Site, seed: int, kills: int, figures: Figures) -> None:
    """A storm in which the server dies again and again, at moments that the seed chooses."""
    chance = random.Random(f"{seed} moments")
    storm = Storm(site, seed, figures)
    for _ in range(kills):
        time.sleep(chance.uniform(0.0, LONGEST_PEACE_SECONDS))
        site.kill()
        figures.kills += 1
        site.start()
        figures.started(site.readiness[-1])
    storm.end()


def kill_backends(
    site: Site, postgres: OwnPostgres, seed: int, kills: int, figures: Figures
) -> None:
    """A storm in which PostgreSQL's own processes die; our server lives on."""
    chance = random.Random(f"{seed} backends")
    storm = Storm(site, seed, figures)
    url = site.place.settings["KEYTURN_DATABASE_URL"]
    for _ in range(kills):
        time.sleep(chance.uniform(0.0, LONGEST_PEACE_SECONDS))
        figures.kills += postgres.kill_a_backend(url, chance)
        site.await_ready(working=site.place.token)
        figures.started(site.readiness[-1])
    storm.end()


def crash_database(site: Site, postgres: OwnPostgres, seed: int, figures: Figures) -> None:
    """A storm in which all of PostgreSQL ends at once, stays away for a while, and comes back."""
    storm = Storm(site, seed, figures)
    time.sleep(LONGEST_PEACE_SECONDS)
    postgres.crash()
    figures.kills += 1
    before = storm.refusals
    if not until(lambda: storm.refusals >= before + CLIENTS, PATIENCE_SECONDS):
        figures.faults.append("clients are not told that the database is away")
    if not until(lambda: not site.is_ready(), PATIENCE_SECONDS):
        figures.faults.append("a server without its database says that it is ready")
    postgres.revive()
    site.await_ready()
    figures.started(site.readiness[-1])
    storm.end()
