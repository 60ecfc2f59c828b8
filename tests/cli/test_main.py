"""The command itself: help, exit codes, streams that fail, settings from a file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from keyturn import __version__
from keyturn.cli.main import COMMANDS
from tests.cli.programs import Place


def test_help_and_version_need_no_settings(place: Place) -> None:
    assert place.run("--version", KEYTURN_PORT="x").done().output == f"keyturn {__version__}\n"
    shown = place.run("--help", KEYTURN_PORT="x").done().output
    for name, lazy in COMMANDS.lazies.items():
        assert name in shown
        assert lazy.help in shown
        assert (
            place.run(name, "--help", KEYTURN_PORT="x").done().output.startswith("Usage: keyturn")
        )


def test_help_is_there_before_the_product_is_loaded() -> None:
    """It works in a light install, and at once."""
    program = "import sys; from keyturn.cli.main import run; run(['--help']); print(*sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    ).stdout
    loaded = shown.splitlines()[-1].split()
    assert not {"sqlalchemy", "fastapi", "uvicorn", "cryptography"} & set(loaded)


@pytest.mark.parametrize(
    "arguments", [["rotate"], ["operators", "rotate"], ["serve", "--colour"], ["migrate", "now"]]
)
def test_what_does_not_exist_ends_with_2(arguments: list[str], place: Place) -> None:
    place.run(*arguments).refused("Usage: keyturn", code=2)


def test_a_reader_that_has_gone_is_no_stack_trace(made: Place) -> None:
    read, write = os.pipe()
    os.close(read)
    ended = made.execute("doctor", stdout=write)
    os.close(write)
    assert ended.returncode == 1
    assert ended.stderr == b""


def test_standard_streams_that_are_closed_are_no_stack_trace(made: Place) -> None:
    for closed in (">&-", "<&- >&- 2>&-"):
        command = f'exec "$0" -c "from keyturn.cli import main; main()" doctor {closed}'
        ended = subprocess.run(
            ["sh", "-c", command, sys.executable],
            cwd=made.folder,
            env=made.environment({}),
            capture_output=True,
            timeout=60,
        )
        assert ended.returncode == 0, closed
        assert b"Traceback" not in ended.stderr + ended.stdout


def test_a_full_disk_is_named(made: Place) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = made.execute("doctor", stdout=full)
    assert ended.returncode == 1
    assert ended.stderr.startswith(b"keyturn: Standard output cannot be used (No space left")
    assert b"Traceback" not in ended.stderr
    assert b"Exception ignored" not in ended.stderr


def test_a_working_folder_that_is_gone_is_named(made: Place) -> None:
    command = 'mkdir gone && cd gone && rmdir ../gone && exec "$0" -c "$1" doctor'
    ended = subprocess.run(
        ["sh", "-c", command, sys.executable, "from keyturn.cli import main; main()"],
        cwd=made.folder,
        env=made.environment({}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        "keyturn: The working folder is not there any more.\n  Change to another folder.\n"
    )


# --- keyturn.toml ---------------------------------------------------------------------------------


def test_settings_come_from_the_file_in_the_working_folder(place: Place) -> None:
    (place.folder / "keyturn.toml").write_text(
        'home = "elsewhere"\nenvironment = "staging"\nrequest_retention_days = 7\n'
        'environments = ["prod", "edge"]\nbody_timeout_seconds = 2.5\n'
    )
    place.run("init").done()
    assert (place.folder / "elsewhere" / "root.secret").exists()
    server = place.serve()
    assert server.call("GET", "/healthz")[1]["environment"] == "staging"
    token = (place.folder / "elsewhere" / "operator.token").read_text().strip()
    made = server.call("POST", "/v1/api-keys", token, {"name": "worker-edge"})[1]
    assert (made["service"], made["environment"]) == ("worker", "edge")


def test_the_environment_goes_before_the_file(place: Place) -> None:
    (place.folder / "keyturn.toml").write_text('home = "of-file"\nport = "no port"\n')
    place.run("init", KEYTURN_HOME="of-environment").done()
    assert (place.folder / "of-environment").is_dir()
    assert not (place.folder / "of-file").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("colour = 1", "has `colour`, which is no setting. "),
        ("prot = 1", "Did you mean port?"),
        ("[server]\nport = 1", "has `server`, which is no setting."),
        ("port = true", "has no usable value for `port`."),
        ("trusted_proxies = 1.5", "`trusted_proxies` in "),
        ("trusted_proxies = -1", "`trusted_proxies` in "),
        ("port = {}", "has no usable value for `port`."),
        ("port = 1979-05-27", "has no usable value for `port`."),
        ('home = ""', "`home` in "),
        ('home = "a\\u0000b"', "`home` in "),
        ("port = ", "cannot be read as TOML"),
        ("port = 1\nport = 2", "cannot be read as TOML"),
    ],
)
def test_a_faulty_file_is_named_with_what_helps(text: str, sentence: str, place: Place) -> None:
    (place.folder / "keyturn.toml").write_text(text)
    refused = place.run("init").refused(sentence.strip())
    assert str(place.folder / "keyturn.toml") in refused.errors
    assert not place.home.exists()


def test_a_file_that_is_no_text_is_named(place: Place) -> None:
    (place.folder / "keyturn.toml").write_bytes(b"\xff\xfe\x00")
    place.run("init").refused("keyturn.toml cannot be read as TOML")
    (place.folder / "keyturn.toml").unlink()
    (place.folder / "keyturn.toml").mkdir()
    place.run("init").refused("keyturn.toml cannot be read (Is a directory)")


def test_unknown_variables_are_warned_of_once_each_and_the_clients_are_not(place: Place) -> None:
    done = place.run(
        "init", KEYTURN_PROT="1", KEYTURN_COLOUR="x", KEYTURN_URL="x", KEYTURN_API_KEY="x"
    ).done()
    warnings = [line for line in done.errors.splitlines() if "KEYTURN_" in line]
    ignored = "is no setting of this version and is ignored."
    assert warnings == [
        f"keyturn: KEYTURN_COLOUR {ignored} Take it out.",
        f"keyturn: KEYTURN_PROT {ignored} Did you mean KEYTURN_PORT?",
    ]


def test_a_token_among_the_arguments_is_not_repeated(made: Place) -> None:
    for arguments in ((made.token,), (f"--{made.token}",), ("doctor", made.token)):
        refused = made.run(*arguments).refused(code=2)
        assert "[redacted]" in refused.errors
        assert made.token[-49:-6] not in refused.all
