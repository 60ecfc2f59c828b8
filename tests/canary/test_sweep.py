"""The sweep can fail: what is planted is found, in every encoding and every kind of sink."""

import base64
import gzip
import json
import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from keyturn.domain.token import make_token
from tests.canary import hook
from tests.canary.allowed import OUTPUT, REASONS
from tests.canary.judge import Outcome, judge
from tests.canary.registry import Canary, read_canaries
from tests.canary.sinks import BASES, REPORTS, Run, sinks_of
from tests.canary.sweep import BLOCK_BYTES, Index, places_in
from tests.servers.postgres import KEPT, Postgres, flush_server

PIECE = 12

ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "reversed": lambda text: text[::-1],
    "hex": lambda text: text.hex().encode(),
    "HEX": lambda text: text.hex().upper().encode(),
    "base64": base64.b64encode,
    "base64 after 1": lambda text: base64.b64encode(b"." + text),
    "base64 after 2": lambda text: base64.b64encode(b".." + text),
    "base64 for URLs": base64.urlsafe_b64encode,
    "base64 in lines": base64.encodebytes,
    "percent": lambda text: b"".join(b"%%%02X" % byte for byte in text),
    "percent, small": lambda text: b"".join(b"%%%02x" % byte for byte in text),
    "JSON": lambda text: b"".join(b"\\u%04x" % byte for byte in text),
    "JSON, capital": lambda text: b"".join(b"\\u%04X" % byte for byte in text),
    "JSON in JSON": lambda text: b"".join(b"\\\\u%04x" % byte for byte in text),
    "Python": lambda text: b"".join(b"\\x%02x" % byte for byte in text),
    "Python, as it prints": lambda text: repr(text).encode(),
    "PostgreSQL": lambda text: b"\\x" + text.hex().encode(),
    "UTF-16": lambda text: text.decode("latin-1").encode("utf-16-le"),
    "UTF-16, big end": lambda text: text.decode("latin-1").encode("utf-16-be"),
    "UTF-32": lambda text: text.decode("latin-1").encode("utf-32"),
    "columns": lambda text: b" ".join(text[at : at + 2] for at in range(0, len(text), 2)),
    "gzip": gzip.compress,
    "base64 in gzip": lambda text: gzip.compress(base64.b64encode(text)),
}


def canary(*asked: str, folder: Path = Path("/nowhere"), output: Path | None = None) -> Canary:
    """A token that nobody holds, drawn by a command that was asked so."""
    raw = secrets.token_bytes(32)
    id_ = UUID(bytes=secrets.token_bytes(16))
    token = make_token(brand="kt", environment="prod", id=id_, secret=raw)
    return Canary(
        raw=raw,
        hint=token.hint,
        token=token.reveal(),
        pid=os.getpid(),
        asked=asked,
        folder=folder,
        output=output,
    )


def told(one: Canary) -> str:
    assert one.token is not None
    return one.token


def swept(canaries: list[Canary], *paths: Path, processes: int = 1) -> Outcome:
    return judge(canaries, paths, processes)


def with_leaks(canaries: list[Canary], *paths: Path) -> int:
    """How many leaks there are. Prints nothing of them."""
    return len(swept(canaries, *paths).leaks)


# --- encodings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("part", ["token", "secret", "bytes"])
def test_it_finds_every_encoding_at_every_offset(encoding: str, part: str, tmp_path: Path) -> None:
    one, others = canary(), [canary() for _ in range(20)]
    whole = {"token": told(one).encode(), "secret": one.spelled.encode(), "bytes": one.raw}[part]
    encode = ENCODINGS[encoding]
    for padding in range(9):
        path = tmp_path / str(padding)
        path.write_bytes(b"." * padding + encode(whole) + b"," * (9 - padding))
        assert with_leaks([*others, one], path) > 0, f"{padding} bytes before it"


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if "in gzip" not in name])
@pytest.mark.parametrize("end", ["first", "last"])
def test_twelve_characters_of_a_secret_are_enough(encoding: str, end: str, tmp_path: Path) -> None:
    one = canary()
    text = one.spelled.encode()
    # Base64 needs 12 of its own characters that depend on nothing else: 12 of the secret and a few.
    size = PIECE + 2 if "base64" in encoding else PIECE
    path = tmp_path / "log"
    path.write_bytes(b"{" + ENCODINGS[encoding](text[:size] if end == "first" else text[-size:]))
    assert with_leaks([one], path) > 0


def test_a_piece_of_the_middle_is_found(tmp_path: Path) -> None:
    one = canary()
    path = tmp_path / "log"
    for start in range(len(one.spelled) - 15):
        path.write_bytes(b"found " + one.spelled[start : start + 15].encode() + b" there")
        assert with_leaks([one], path) > 0, start


def test_what_stands_across_two_blocks_is_found_once(tmp_path: Path) -> None:
    one = canary()
    path = tmp_path / "log"
    for before in (
        BLOCK_BYTES - 90,
        BLOCK_BYTES - 77,
        BLOCK_BYTES - 40,
        BLOCK_BYTES - 1,
        BLOCK_BYTES,
    ):
        path.write_bytes(os.urandom(before) + told(one).encode() + os.urandom(3 * BLOCK_BYTES))
        assert with_leaks([one], path) == 1, before


def test_innocent_bytes_yield_no_hit(tmp_path: Path) -> None:
    canaries = [canary() for _ in range(200)]
    other = canary()
    path = tmp_path / "innocent"
    ids = "".join(str(one.hint) for one in canaries).encode()
    encoded = b"".join(encode(told(other).encode()) for encode in ENCODINGS.values())
    path.write_bytes(
        os.urandom(1 << 20) + bytes(1 << 20) + ids + encoded + Path(__file__).read_bytes()
    )
    outcome = swept(canaries, path)
    assert (outcome.leaks, outcome.sinks, outcome.size_bytes) == ((), 1, path.stat().st_size)


def test_a_hit_names_sink_offset_encoding_and_key_and_never_the_token(tmp_path: Path) -> None:
    one = canary()
    path = tmp_path / "log"
    path.write_bytes(b"\0 %" * 1_000 + b"Bearer " + one.spelled.encode())
    (leak,) = swept([one], path).leaks
    assert leak == f"{path} byte 3007: {one.hint} (plain)"
    (place,) = places_in(Index([one]), path)
    assert one.spelled not in repr((place, one, Index([one])))


def test_many_processes_find_what_one_finds(tmp_path: Path) -> None:
    canaries = [canary() for _ in range(50)]
    paths = [tmp_path / str(number) for number in range(50)]
    for one, path in zip(canaries, paths, strict=True):
        path.write_bytes(os.urandom(5_000) + told(one).encode())
    alone, together = (swept(canaries, *paths, processes=number) for number in (1, 2))
    assert alone.leaks == together.leaks
    assert len(together.leaks) == 50


# --- where a token may stand ---------------------------------------------------------------------


def place(folder: Path, name: str, text: str, mode: int = 0o600) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_tokens_file_is_for_the_token_whose_command_was_told_to_write_it(tmp_path: Path) -> None:
    one = canary("operators", "create", "--output", "ada.token", folder=tmp_path)
    own = place(tmp_path, "ada.token", told(one) + "\n")
    assert with_leaks([one], own) == 0
    other = place(tmp_path, "other.token", told(one) + "\n")
    assert with_leaks([one], other) == 1
    stranger = canary()
    assert with_leaks([stranger], place(tmp_path, "ada.token", told(stranger))) == 1
    assert with_leaks([one], place(tmp_path, "ada.token", f"token {told(one)}")) == 1
    assert with_leaks([one], place(tmp_path, "ada.token", told(one), mode=0o640)) == 1


def test_a_servers_token_is_for_the_file_that_its_callers_command_was_told_to_write(
    tmp_path: Path,
) -> None:
    made = canary("serve", folder=tmp_path / "server")
    create = ("keys", "create", "worker-prod", "-o", "worker.token")
    one = replace(made, handed_by=(replace(made, asked=create, folder=tmp_path, pid=made.pid + 1),))
    own = place(tmp_path, "worker.token", told(one) + "\n")
    assert with_leaks([one], own) == 0
    assert with_leaks([made], own) == 1
    for name in ("other.token", "server/worker.token", f".worker.token.{made.pid + 1}.draft"):
        assert with_leaks([one], place(tmp_path, name, told(one) + "\n")) == 1, name
    own.unlink()
    torn = place(tmp_path, f".worker.token.{made.pid + 1}.draft", told(one) + "\n")
    assert with_leaks([one], torn) == 0
    assert with_leaks([one], place(tmp_path, "1.output", told(one))) == 1


def test_of_several_tokens_each_is_for_the_file_of_its_own_key(tmp_path: Path) -> None:
    made = canary("serve")
    ask = ("staff-changes", "ada@example.com", "--rotate", "--output-dir", "new")
    one = replace(made, handed_by=(replace(made, asked=ask, folder=tmp_path),))
    name = f"worker-prod-{(one.hint or '').rpartition('_')[2]}.token"
    assert with_leaks([one], place(tmp_path, f"new/{name}", told(one) + "\n")) == 0
    for other in ("new/worker-prod.token", f"old/{name}", name, f"new/{name}.draft"):
        assert with_leaks([one], place(tmp_path, other, told(one) + "\n")) == 1, other


def test_a_servers_token_is_for_the_output_of_the_command_that_was_told_to_print_it(
    tmp_path: Path,
) -> None:
    made = canary("serve")
    create = ("keys", "create", "worker-prod", "--output", "-")
    own = place(tmp_path, "1.output", told(made) + "\n")
    one = replace(made, handed_by=(replace(made, asked=create, output=own),))
    assert with_leaks([one], own) == 0
    assert with_leaks([one], place(tmp_path, "1.errors", told(made))) == 1
    assert with_leaks([one], place(tmp_path, "worker.token", told(made))) == 1
    silent = replace(made, handed_by=(replace(made, asked=create[:3], output=own),))
    assert with_leaks([silent], own) == 1


def test_the_first_operators_file_is_for_the_token_of_init(tmp_path: Path) -> None:
    for asked, leaks in (
        (("init",), 0),
        (("dev",), 0),
        (("serve",), 1),
        (("init", "--output", "x"), 1),
    ):
        one = canary(*asked, folder=tmp_path)
        assert with_leaks([one], place(tmp_path, "operator.token", told(one))) == leaks, asked


def test_a_draft_is_for_who_was_killed_before_it_had_its_name(tmp_path: Path) -> None:
    one = canary("init", folder=tmp_path)
    draft = place(tmp_path, ".operator.token.draft", told(one) + "\n")
    assert with_leaks([one], draft) == 0
    place(tmp_path, "operator.token", told(one) + "\n")
    assert with_leaks([one], draft) == 1


def test_output_is_for_the_command_that_was_told_to_print(tmp_path: Path) -> None:
    output = place(tmp_path, "1.output", "")
    asked = ("operators", "create", "--output", "-")
    one = canary(*asked, output=output)
    place(tmp_path, "1.output", told(one) + "\n")
    assert with_leaks([one], output) == 0
    assert with_leaks([one], place(tmp_path, "1.errors", told(one))) == 1
    silent = canary("serve", output=output)
    assert with_leaks([silent], place(tmp_path, "1.output", told(silent))) == 1
    pipe = place(tmp_path, f"{OUTPUT}/{one.pid}-python", told(one))
    assert with_leaks([one], pipe) == 0
    assert with_leaks([one], place(tmp_path, f"{OUTPUT}/1{one.pid}-python", told(one))) == 1


def test_one_answer_hands_a_token_out_and_no_second_one_does(tmp_path: Path) -> None:
    one = canary()
    name = f"{hook.ANSWERS}/{one.pid}"
    body = json.dumps({"api_key": one.token})
    assert with_leaks([one], place(tmp_path, name, body)) == 0
    assert with_leaks([one], place(tmp_path, name, body * 2)) == 1
    for other in ({"detail": one.token}, {"api_key": one.spelled}, {"api_key": told(one)[:-1]}):
        assert with_leaks([one], place(tmp_path, name, json.dumps(other))) == 1
    assert with_leaks([one], place(tmp_path, f"{hook.ANSWERS}/1{one.pid}", body)) == 1


def test_a_root_secret_is_for_its_own_private_file(tmp_path: Path) -> None:
    raw = secrets.token_bytes(32)
    root = Canary(
        raw=raw, hint=None, token=None, pid=1, asked=("init",), folder=tmp_path, output=None
    )
    content = {"about": "", "format": 1, "root": base64.b64encode(raw).decode(), "peppers": {}}
    assert with_leaks([root], place(tmp_path, "root.secret", json.dumps(content))) == 0
    others = [json.dumps({**content, "keys": []}), json.dumps([content]), raw.hex()]
    others += [f"{json.dumps(content)} and more", json.dumps({**content, "root": raw.hex()})]
    for other in others:
        assert with_leaks([root], place(tmp_path, "root.secret", other)) > 0


def test_a_signing_secret_is_for_its_answer_and_its_file(tmp_path: Path) -> None:
    raw = secrets.token_bytes(32)
    text = f"whsec_{base64.b64encode(raw).decode()}"
    asked = ("channels", "create", "hooks", "--output", "hook.secret")
    one = Canary(raw=raw, hint=None, token=None, pid=1, asked=asked, folder=tmp_path, output=None)
    body = json.dumps({"id": "x", "secret": text})
    assert with_leaks([one], place(tmp_path, f"{hook.ANSWERS}/1", body)) == 0
    assert with_leaks([one], place(tmp_path, f"{hook.ANSWERS}/2", body)) > 0
    assert with_leaks([one], place(tmp_path, "server.log", body)) > 0
    told = place(tmp_path, "hook.secret", f"{text}\n")
    told.chmod(0o644)
    assert with_leaks([one], told) > 0  # others may read it
    told.chmod(0o600)
    assert with_leaks([one], told) == 0
    other = place(tmp_path, "other.secret", f"{text}\n")
    other.chmod(0o600)
    assert with_leaks([one], other) > 0


def test_each_reason_is_one_of_these() -> None:
    assert len(REASONS) == 9


# --- sinks ---------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that has left nothing yet."""
    folders = {
        name: tmp_path / name for name in ("run", "postgres", "project", "home", "temporary")
    }
    for folder in folders.values():
        folder.mkdir()
    for name in (hook.ANSWERS, OUTPUT, REPORTS):
        (folders["run"] / name).mkdir()
    base = tmp_path / "base"
    base.mkdir()
    (folders["run"] / BASES).write_text(f"{base}\n")
    return Run(
        folder=folders["run"],
        postgres=folders["postgres"],
        project=folders["project"],
        home=folders["home"],
        temporary=(folders["temporary"],),
        began=0,
    )


SINKS = {
    "an answer": "run/answers/17",
    "what a program wrote into a pipe": "run/output/17-keyturn",
    "what a test printed": "run/reports/tests",
    "a log": "base/test_a0/server.log",
    "a draft": "base/test_a0/home/.operator.token.draft",
    "a file of heads": "base/test_a0/home/heads.jsonl",
    "a settings file": "base/test_a0/keyturn.toml",
    "a dump of memory": "base/test_a0/core.17",
    "PostgreSQL's tables": "postgres/data/base/16384/16385",
    "PostgreSQL's write-ahead log": "postgres/data/pg_wal/000000010000000000000001",
    "PostgreSQL's statistics of statements": "postgres/data/pg_stat_tmp/pgss_query_texts.stat",
    "PostgreSQL's log": "postgres/log",
    "a database that was dropped": f"postgres/{KEPT}/t1_1/16385",
    "the working folder": "project/.hypothesis/examples/1",
    "a shell's history": "home/.sh_history",
    "the product's settings at home": "home/.config/keyturn/config.toml",
    "the folder of temporary files": "temporary/tmpabc",
}


@pytest.mark.parametrize("sink", SINKS)
def test_every_sink_is_looked_into(sink: str, run: Run, tmp_path: Path) -> None:
    one = canary()
    place(tmp_path, SINKS[sink], f"Bearer {told(one)}", mode=0o644)
    assert with_leaks([one], *sinks_of(run)) == 1


def test_what_was_there_before_and_what_tools_keep_is_no_sink(run: Run, tmp_path: Path) -> None:
    for name in ("project/.git/objects/1", "project/.venv/a", "project/src/__pycache__/a.pyc"):
        place(tmp_path, name, "text")
    old = place(tmp_path, "project/old", "text")
    os.utime(old, (1, 1))
    late = Run(
        folder=run.folder,
        postgres=run.postgres,
        project=run.project,
        home=run.home,
        temporary=run.temporary,
        began=2,
    )
    assert old in sinks_of(run)
    assert sinks_of(late) == []


def test_a_database_of_sqlite_is_looked_into_with_its_write_ahead_log(tmp_path: Path) -> None:
    kept, deleted = canary(), canary()
    path = tmp_path / "keyturn.db"
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE words (word TEXT)")
        connection.execute("INSERT INTO words VALUES (?)", (deleted.token,))
        connection.execute("PRAGMA secure_delete = off")
        connection.execute("DELETE FROM words")
        connection.execute("INSERT INTO words VALUES (?)", (kept.raw,))
        found = swept([kept, deleted], path, tmp_path / "keyturn.db-wal").leaks
    connection.close()
    assert {(str(kept.hint) in leak, str(deleted.hint) in leak) for leak in found} == {
        (True, False),
        (False, True),
    }


def test_postgresql_keeps_what_was_ever_sent_to_it_for_the_sweep(postgres: Postgres) -> None:
    """In its log even the parameters of a statement, and the tables of a database that is gone."""
    sent, stored, run_folder = canary(), canary(), postgres.socket_folder.parent
    url = postgres.create_database()
    # Not the canaries of this run: nobody registered them, so only this test looks for them.
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT %s::text", (sent.token,))
        connection.execute("CREATE TABLE words (word BYTEA)")
        connection.execute("INSERT INTO words VALUES (%s)", (stored.raw,))
        connection.execute("DELETE FROM words")
    postgres.drop_database(url)
    flush_server(run_folder)
    assert with_leaks([sent], run_folder / "log") > 0
    kept = list((run_folder / KEPT / url.rpartition("/")[2]).iterdir())
    assert with_leaks([stored], *kept) > 0


# --- the register --------------------------------------------------------------------------------

_DRAWS = """
from keyturn.ambient import SystemEntropy
from keyturn.domain.identity import make_id
from keyturn.domain.token import make_token
from keyturn.testing import SeededEntropy
def made(entropy):
    id_ = make_id(1, SystemEntropy())
    return make_token(brand="kt", environment="prod", id=id_, secret=entropy.take(32))
made(SeededEntropy(7))
print(made(SystemEntropy()).reveal())
"""


_HANDS_OVER = """
import os
from pathlib import Path
from keyturn.ambient import SystemEntropy
from keyturn.cli.handover import Handover, Issued
from keyturn.cli.output import Output
from keyturn.domain.identity import make_id
from keyturn.domain.token import make_token
os.chdir({folder!r})
secret = os.urandom(32)  # by a server, somewhere else
token = make_token(brand="kt", environment="prod", id=make_id(1, SystemEntropy()), secret=secret)
issued = Issued(what="a-prod", id="1", members={{}}, token=token)
with Handover("a.token", unsure="") as handover:
    handover.deliver(Output(as_json=False, is_quiet=True), issued, str)
"""


@pytest.fixture
def hooked(tmp_path: Path) -> Path:
    """The folder of another run, whose hook stands ready."""
    (tmp_path / hook.FOLDER).mkdir()
    (tmp_path / hook.ANSWERS).mkdir()
    (tmp_path / hook.FOLDER / "sitecustomize.py").write_bytes(Path(hook.__file__).read_bytes())
    return tmp_path


def python(program: str, *paths: Path) -> str:
    own = [path for path in sys.path if path]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": os.pathsep.join([*map(str, paths), *own])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_program_registers_what_it_draws_and_nothing_of_repeated_chance(hooked: Path) -> None:
    drawn = python(_DRAWS, hooked / hook.FOLDER)
    (one,) = read_canaries(hooked)
    assert one.token == drawn or pytest.fail("another token is registered", pytrace=False)
    assert (hooked / hook.REGISTRY).stat().st_mode & 0o777 == 0o600


def test_a_program_registers_what_it_hands_over_for_a_server_and_where_it_was(
    hooked: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "caller"
    folder.mkdir()
    python(_HANDS_OVER.format(folder=str(folder)), hooked / hook.FOLDER)
    (entry,) = map(json.loads, (hooked / hook.REGISTRY).read_text().splitlines())
    assert (entry["handed"], entry["folder"]) == (True, str(folder))
    drawn = {
        **entry,
        "handed": False,
        "secret": "00" * 32,
        "pid": 1,
        "folder": "/nowhere",
    }  # as its server notes it
    with (hooked / hook.REGISTRY).open("a") as registry:
        registry.write(json.dumps(drawn) + "\n")
    (one,) = read_canaries(hooked)
    assert [caller.folder for caller in one.handed_by] == [folder]
    assert one.folder == Path("/nowhere")


_DELIVERS = """
from pathlib import Path
from keyturn.ambient import SystemEntropy
from keyturn.destinations.folder import WorkspaceFolder
from keyturn.domain.identity import make_id
from keyturn.domain.token import make_token

secret = SystemEntropy().take(32)
token = make_token(brand="kt", environment="prod", id=make_id(1, SystemEntropy()), secret=secret)
folder = WorkspaceFolder(Path({folder!r}), "workspace")
folder.replace(("mark.token",), "a mark")
folder.replace(("sub", "a-prod.token"), token.reveal())
"""


def test_a_token_that_is_delivered_to_a_file_may_stand_there_alone(
    hooked: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "delivered"
    folder.mkdir()
    python(_DELIVERS.format(folder=str(folder)), hooked / hook.FOLDER)
    (one,) = read_canaries(hooked)
    own = folder / "workspace" / "sub" / "a-prod.token"
    assert with_leaks([one], own) == 0
    assert with_leaks([one], place(tmp_path, "delivered/workspace/b.token", told(one))) == 1
    draft = place(tmp_path, "delivered/workspace/sub/.a-prod.token.draft", told(one))
    draft.chmod(0o644)
    assert with_leaks([one], own, draft) == 1
    draft.chmod(0o600)
    assert with_leaks([one], own, draft) == 0


def test_the_hook_gives_way_to_the_sitecustomize_behind_it(hooked: Path) -> None:
    (hooked / "other").mkdir()
    (hooked / "other" / "sitecustomize.py").write_text("import builtins; builtins.seen = 'both'")
    program = "import builtins; print(builtins.seen)"
    assert python(program, hooked / hook.FOLDER, hooked / "other") == "both"


def test_a_hook_that_comes_too_late_says_so() -> None:
    program = "import keyturn.ambient; from tests.canary import hook; hook.watch(hook.Register())"
    with pytest.raises(AssertionError, match="loaded before the canaries"):
        python(program)
