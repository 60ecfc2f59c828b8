"""Section 11: a stop loses nothing that was answered; neither does a crash, of changes."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.api import Site, Workspace, expect, label, open_site
from tests.acceptance.servers import STOP_SECONDS, Installation, Server, serving, until

THREADS = 8
STORM_SECONDS = 1.0
ENOUGH = 50  # verifications, however slow the machine
PATIENCE_SECONDS = 30.0
# A tenth of this is taken; without `gc.freeze` twice as much.
END_PROCESSOR_SECONDS = 0.25


class Storm:
    """Many callers at once, until the server is gone. Keeps what was answered."""

    def __init__(self, site: Site, workspace: Workspace) -> None:
        self._site = site
        self._workspace = workspace
        self.verified: list[str] = []
        self.created: list[str] = []
        self.revoked: list[str] = []
        self.ended_at = 0.0

    def run(self, end: Any) -> None:
        """Storms, calls `end` in the middle of it, and waits until every caller has lost it."""
        token = self._workspace.admin.create().token
        with ThreadPoolExecutor(THREADS) as pool:
            futures = [pool.submit(self._verify, token, number) for number in range(THREADS - 2)]
            futures += [pool.submit(self._change, number) for number in range(2)]
            time.sleep(STORM_SECONDS)
            until(lambda: len(self.verified) > ENOUGH and bool(self.created), PATIENCE_SECONDS)
            self.ended_at = time.monotonic()
            end()
            for future in futures:
                future.result()

    def _verify(self, token: str, caller: int) -> None:
        for number in range(100_000):
            name = f"storm-{caller}-{number}"
            try:
                response = self._workspace.admin.post(
                    "/v1/verify", {"api_key": token, "request_id": name}
                )
            except httpx2.TransportError:
                return
            expect(response, 200)
            self.verified.append(name)

    def _change(self, caller: int) -> None:
        for number in range(100_000):
            try:
                draft = {"name": f"storm-{caller}-{number}"}
                response = self._workspace.admin.post("/v1/api-keys", draft)
                id_ = expect(response, 201)["id"]
                self.created.append(id_)
                if number % 2:
                    expect(self._workspace.admin.delete(f"/v1/api-keys/{id_}"), 204)
                    self.revoked.append(id_)
            except httpx2.TransportError:
                return


def storm_and(installation: Installation, end: str) -> tuple[Storm, str]:
    """A storm on a fresh server that ends by `terminate` or `kill`, and its workspace's token."""
    server = Server(installation)
    site = open_site(server)
    try:
        workspace = site.workspace()
        storm = Storm(site, workspace)
        storm.run(getattr(server, end))
        if end == "terminate":
            assert server.wait(STOP_SECONDS) == 0
            assert time.monotonic() - storm.ended_at < STOP_SECONDS
        assert len(storm.verified) > ENOUGH
        assert storm.created
        return storm, workspace.admin.token or ""
    finally:
        site.operator.client.close()
        server.stop()


def workspace_of(site: Site, token: str) -> Workspace:
    admin = site.operator.with_token(token)
    body = expect(admin.get("/v1/self"), 200)
    return Workspace(id=body["workspace_id"], admin=admin, body=body)


def assert_changes_are_there(storm: Storm, site: Site, token: str) -> None:
    workspace = workspace_of(site, token)
    status = {one["id"]: one["status"] for one in pages(workspace, "/v1/api-keys?status=all")}
    assert set(storm.created) <= set(status)
    assert {status[one] for one in storm.revoked} <= {"revoked"}
    logged = {one["resource_id"] for one in workspace.activity(action="api_key.created")}
    assert set(storm.created) <= logged
    positions = workspace.verify("x")["as_of"]
    assert positions >= len(storm.created) + len(storm.revoked)


def pages(workspace: Workspace, path: str) -> list[Any]:
    found: list[Any] = []
    url = path + "&limit=1000"
    while True:
        response = workspace.admin.get(url)
        found += expect(response, 200)
        if "link" not in response.headers:
            return found
        url = response.headers["link"].partition("<")[2].partition(">")[0]


def assert_the_log_is_sound(installation: Installation) -> None:
    checked = installation.command("activity", "verify", "--json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert json.loads(checked.stdout)["sound"] is True


def test_sigterm_in_a_storm_ends_in_time_and_loses_nothing_answered(
    installation: Installation,
) -> None:
    storm, token = storm_and(installation, "terminate")
    with serving(installation) as server:
        site = open_site(server)
        workspace = workspace_of(site, token)
        recorded = pages(workspace, "/v1/requests?valid=true")
        names = {one["request_id"] for one in recorded}
        assert set(storm.verified) <= names
        assert_changes_are_there(storm, site, token)
        site.operator.client.close()
    assert_the_log_is_sound(installation)


def test_sigkill_in_a_storm_leaves_every_answered_change_and_a_sound_log(
    installation: Installation,
) -> None:
    storm, token = storm_and(installation, "kill")
    assert_the_log_is_sound(installation)
    with serving(installation) as server:
        site = open_site(server)
        assert_changes_are_there(storm, site, token)
        expect(site.operator.post("/v1/workspaces", {"name": label()}), 201)
        site.operator.client.close()
    assert_the_log_is_sound(installation)


def test_a_stop_waits_for_nobody_who_is_silent(installation: Installation) -> None:
    with serving(installation) as server:
        site = open_site(server)
        expect(site.operator.get("/v1/self"), 200)  # leaves a connection open
        server.terminate()
        started = time.monotonic()
        assert server.wait(STOP_SECONDS) == 0
        assert time.monotonic() - started < STOP_SECONDS
        site.operator.client.close()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux")
def test_an_end_takes_next_to_nothing_of_the_processor(installation: Installation) -> None:
    """Of a whole interpreter, whose end a forked server does not have."""
    program = [sys.executable, "-c", "from keyturn.cli.main import main; main()", "serve"]
    output = installation.stream()
    with output.open("wb") as stream:
        server = subprocess.Popen(program, env=installation.environment, stdout=stream)
    try:
        assert until(lambda: "http://" in output.read_text(), PATIENCE_SECONDS)
        fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
        spent = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
        server.terminate()
        _, status, usage = os.wait4(server.pid, 0)
        server.returncode = os.waitstatus_to_exitcode(status)
    finally:
        if server.returncode is None:
            server.kill()
            server.wait()
    assert server.returncode == 0
    assert usage.ru_utime + usage.ru_stime - spent < END_PROCESSOR_SECONDS


def test_positions_go_on_after_a_restart(installation: Installation) -> None:
    seen = []
    for _ in range(3):
        with serving(installation) as server:
            site = open_site(server)
            seen.append(site.operator.verify("x")["as_of"])
            site.operator.create()
            seen.append(site.operator.verify("x")["as_of"])
            site.operator.client.close()
    assert seen == sorted(seen)
    assert all(before < after for before, after in zip(seen[::2], seen[1::2], strict=True))


def test_a_second_server_of_the_same_database_is_refused(installation: Installation) -> None:
    with serving(installation) as server:
        second = installation.command("serve")
        assert second.returncode == 1
        assert "Traceback" not in second.stderr
        site = open_site(server)
        expect(site.anyone.get("/readyz"), 200)
        assert until(lambda: site.anyone.get("/healthz").status_code == 200)
        site.operator.client.close()
