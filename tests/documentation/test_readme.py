"""The README is run as a reader runs it: its blocks pasted into a shell, in a bare copy."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8420"
MARK = "=== the next block ==="
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone has: the files of the project, and nothing that was made since."""
    folder = tmp_path_factory.mktemp("checkout") / "keyturn"
    folder.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "Makefile", "src"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((PROJECT / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def address(checkout: Path) -> Iterator[str]:
    """The product as `make run` starts it, on another port by a setting that is documented."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {name: text for name, text in os.environ.items() if "KEYTURN" not in name}
    paths = [os.environ.get("PYTHONPATH", ""), str(checkout / "src")]
    environment |= {"KEYTURN_PORT": str(port), "PYTHONPATH": os.pathsep.join(paths).lstrip(":")}
    process = subprocess.Popen(
        [sys.executable, "-c", "from keyturn.cli import main; main()", "dev"],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield _awaited(f"http://127.0.0.1:{port}", process)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def _awaited(address: str, process: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/readyz"):
                return address
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    process.kill()
    raise AssertionError(process.communicate()[0].decode())


@pytest.fixture(scope="module")
def shown(checkout: Path, address: str) -> list[str]:
    """What each block after `make run` printed, in one shell, all of them literally."""
    script = f"\necho; echo '{MARK}'\n".join(BLOCKS[1:]).replace(ADDRESS, address)
    run = subprocess.run(
        ["sh", "-eu"],
        input=script,
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return [part.strip() for part in run.stdout.split(MARK)]


def values(text: str) -> list[Any]:
    """The JSON values that stand one after another in `text`."""
    decoder, found, position = json.JSONDecoder(), [], 0
    while position < len(text):
        value, position = decoder.raw_decode(text, position)
        found.append(value)
        while text[position : position + 1].isspace():
            position += 1
    return found


def test_it_begins_with_what_the_makefile_has() -> None:
    assert BLOCKS[0].strip() == "make run"
    targets = re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    for name in re.findall(r"`make (\w+)`", README):
        assert name in targets


def test_the_blocks_say_where_the_product_listens_as_it_does_by_itself() -> None:
    assert f"export KEYTURN_URL={ADDRESS}" in BLOCKS[1]


def test_a_key_is_made_with_its_token(shown: list[str]) -> None:
    (made,) = values(shown[1])
    assert (made["name"], made["service"], made["environment"]) == (
        "scheduler-prod",
        "scheduler",
        "prod",
    )
    assert made["owner"] == "payments@example.com"
    assert made["api_key"].startswith("kt_prod_")


def test_it_verifies(shown: list[str]) -> None:
    (verdict,) = values(shown[2])
    assert verdict["valid"] is True
    assert verdict["key"]["name"] == "scheduler-prod"


def test_its_use_is_seen_in_requests_and_usage(shown: list[str]) -> None:
    requests, usage = values(shown[3])
    (request,) = requests
    assert (request["runtime"], request["ip"], request["path"]) == (
        "nightly-batch",
        "203.0.113.7",
        "/v1/pins",
    )
    assert usage["totals"] == {"allowed": 1, "denied": 0}
    assert [one["runtime"] for one in usage["runtimes"]] == ["nightly-batch"]


def test_revoked_it_is_denied_at_once(shown: list[str]) -> None:
    head, _, body = shown[4].replace("\r", "").partition("\n\n")
    assert head.startswith("HTTP/1.1 204")
    assert "keyturn-propagation: complete;" in head.lower()
    (verdict,) = values(body.strip())
    assert (verdict["valid"], verdict["code"]) == (False, "revoked")


def test_who_did_what_stands_in_the_log(shown: list[str]) -> None:
    (log,) = values(shown[5])
    actions = [item["action"] for item in log["items"]]
    assert "api_key.revoked" in actions
    assert "api_key.created" in actions


def test_what_it_says_of_the_data_folder_is_so(checkout: Path, shown: list[str]) -> None:
    home = checkout / ".keyturn"
    assert home.stat().st_mode & 0o777 == 0o700
    cells = re.findall(r"^\| (`[a-z.]+`(?:, `[a-z.]+`)*) \|", README, re.MULTILINE)
    told = {name.strip("`") for cell in cells for name in cell.split(", ")}
    kept = {file.name for file in home.iterdir() if not file.name.endswith(("-wal", "-shm"))}
    assert kept == told
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in home.iterdir())


def test_what_it_says_is_missing_is_missing(address: str, shown: list[str]) -> None:
    for path in ("/v1/rotations", "/v1/incidents", "/v1/findings", "/v1/forward-auth"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(address + path)


def test_every_command_and_option_that_it_names_exists() -> None:
    cli = (PROJECT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(keyturn(?: [a-z]+)+)", README):
        words = name.split()
        while f"## `{' '.join(words)}`" not in cli and len(words) > 2:
            words.pop()
        assert f"## `{' '.join(words)}`" in cli, name
    for option in set(re.findall(r"(?<=[` ])--[a-z][a-z-]+", README)):
        assert option in cli, option
    settings = (PROJECT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    for variable in set(re.findall(r"KEYTURN_[A-Z_]+", README)):
        assert variable in settings, variable
