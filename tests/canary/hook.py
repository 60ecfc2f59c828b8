"""Registers every secret that a process draws from the system's generator, and keeps what a server
answers. The product knows nothing of it.

A copy of this file stands as `sitecustomize.py` in a folder of the run, which is on PYTHONPATH, so
that every interpreter that the tests start runs it: servers, commands, those that are forked from
one. It imports nothing of the product. It waits until the modules come by themselves, and puts
itself around six of their functions:

    keyturn.ambient           each draw of 32 bytes is registered: a token's secret, a signing
                              secret, or a root
    keyturn.domain.token      a token whose secret was drawn here is registered with its hint. One
                              of chosen or repeated chance stands in the tests' sources: no canary
    keyturn.server.protocol   what goes out to a caller is kept, as it goes out
    keyturn.cli.main          what the command was asked for, to know where its token may go
    keyturn.cli.handover, and handover_many
                              a token that a server made, and a command of its caller hands over, is
                              registered once more, with what that command was asked for
    keyturn.destinations.folder
                              a token that is delivered to a file is registered once more, as if a
                              command had been told to write it there
"""

import base64
import fcntl
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = "hook"
REGISTRY = "registry"
ANSWERS = "answers"
SECRET_BYTES = 32


class Register:
    """The run's private list of secrets, and its private folder of answers."""

    def __init__(self, run_folder: Path | None = None) -> None:
        self.run_folder = run_folder
        self._drawn: set[bytes] = set()
        self._made: set[str] = set()
        self._asked: list[str] | None = None
        self._answer_file: tuple[int, int] | None = None

    def drawn(self, secret: bytes) -> None:
        self._drawn.add(secret)
        self._note(secret, None)

    def made(self, token: Any, secret: bytes) -> None:
        if secret in self._drawn:
            self._made.add(token.hint)
            self._note(secret, token)

    def handed(self, token: Any) -> None:
        """A token that came from a server, where it was registered when it was drawn; or a signing
        secret, which has no hint."""
        if not hasattr(token, "hint"):
            secret = base64.b64decode(token.reveal().partition("_")[2])
            self._note(secret, None, is_handed=True)
        elif token.hint not in self._made:
            self._note(b"", token, is_handed=True)

    def delivered(self, text: str, place: Path) -> None:
        """A token, or what else is written to a destination, and the file that it goes to."""
        token = sys.modules["keyturn.domain.token"].parse_token(text)
        if token is not None:
            self._note(b"", token, is_handed=True, asked=["--output", str(place)])

    def asked(self, arguments: Sequence[str] | None) -> None:
        self._asked = list(sys.argv[1:] if arguments is None else arguments)

    def answered(self, data: bytes) -> None:
        pid = os.getpid()
        if self._answer_file is None or self._answer_file[0] != pid:
            self._answer_file = pid, _appending(self._folder / ANSWERS / str(pid))
        os.write(self._answer_file[1], data)

    @property
    def _folder(self) -> Path:
        if self.run_folder is None:
            raise RuntimeError("a secret was drawn before the run began")
        return self.run_folder

    def _note(
        self,
        secret: bytes,
        token: Any,
        *,
        is_handed: bool = False,
        asked: list[str] | None = None,
    ) -> None:
        entry = {
            "pid": os.getpid(),
            "handed": is_handed,
            "secret": secret.hex(),
            "hint": None if token is None else token.hint,
            "token": None if token is None else token.reveal(),
            "asked": self._asked if asked is None else asked,
            "folder": str(Path.cwd()),
            "output": _path_of_output(),
        }
        descriptor = _appending(self._folder / REGISTRY)
        os.write(descriptor, json.dumps(entry).encode() + b"\n")
        os.close(descriptor)


def _appending(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _path_of_output() -> str | None:
    """The file that standard output goes to, where it is one."""
    try:
        if hasattr(fcntl, "F_GETPATH"):  # macOS
            return str(fcntl.fcntl(1, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"), "utf-8")
        return str(Path("/proc/self/fd/1").readlink())
    except OSError:
        return None


# --- around the product's functions --------------------------------------------------------------


class Wire:
    """A transport that keeps what it sends."""

    def __init__(self, transport: Any, register: Register) -> None:
        self._transport = transport
        self._register = register

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._register.answered(bytes(data))
        self._transport.write(data)


def _around_ambient(module: ModuleType, register: Register) -> None:
    take = module.SystemEntropy.take

    def registered(self: Any, size_bytes: int) -> bytes:
        found = bytes(take(self, size_bytes))
        if size_bytes == SECRET_BYTES:
            register.drawn(found)
        return found

    module.SystemEntropy.take = registered


def _around_token(module: ModuleType, register: Register) -> None:
    make_token = module.make_token

    def registered(*, brand: str, environment: str, id: Any, secret: bytes) -> Any:  # noqa: A002
        token = make_token(brand=brand, environment=environment, id=id, secret=secret)
        register.made(token, secret)
        return token

    module.make_token = registered  # type: ignore[attr-defined]


def _around_protocol(module: ModuleType, register: Register) -> None:
    connection_made = module.BoundedProtocol.connection_made

    def kept(self: Any, transport: Any) -> None:
        connection_made(self, Wire(transport, register))

    module.BoundedProtocol.connection_made = kept


def _around_command(module: ModuleType, register: Register) -> None:
    run = module.run

    def told(arguments: Sequence[str] | None = None) -> int:
        register.asked(arguments)
        return int(run(arguments))

    module.run = told  # type: ignore[attr-defined]


def _around_handover(module: ModuleType, register: Register) -> None:
    deliver = module.Handover.deliver

    def registered(self: Any, output: Any, issued: Any, take_back: Any) -> None:
        register.handed(issued.token)
        deliver(self, output, issued, take_back)

    module.Handover.deliver = registered


def _around_handover_of_many(module: ModuleType, register: Register) -> None:
    put = module.TokenFolder.put

    def registered(folder: Any, name: str, token: Any) -> Any:
        register.handed(token)
        return put(folder, name, token)

    module.TokenFolder.put = registered


def _around_file_destination(module: ModuleType, register: Register) -> None:
    replace = module.WorkspaceFolder.replace

    def registered(self: Any, steps: tuple[str, ...], value: str) -> Any:
        register.delivered(value, self._folder.joinpath(self._workspace, *steps))
        return replace(self, steps, value)

    module.WorkspaceFolder.replace = registered


_AROUND: dict[str, Callable[[ModuleType, Register], None]] = {
    "keyturn.ambient": _around_ambient,
    "keyturn.domain.token": _around_token,
    "keyturn.server.protocol": _around_protocol,
    "keyturn.cli.main": _around_command,
    "keyturn.cli.handover": _around_handover,
    "keyturn.cli.handover_many": _around_handover_of_many,
    "keyturn.destinations.folder": _around_file_destination,
}


# --- in every interpreter ------------------------------------------------------------------------


class Watch(MetaPathFinder):
    """Lets these modules load as they would, and puts the register around them."""

    watches_canaries = True  # this file is loaded under two names

    def __init__(self, register: Register) -> None:
        self._register = register

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        around = _AROUND.get(name)
        spec = None if around is None else PathFinder.find_spec(name, path, target)
        if around is not None and spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, around, self._register)
        return spec


class _Loader(Loader):
    def __init__(
        self, loader: Loader, around: Callable[[ModuleType, Register], None], register: Register
    ) -> None:
        self._loader = loader
        self._around = around
        self._register = register

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._around(module, self._register)

    def __getattr__(self, name: str) -> Any:  # what else a loader can do: sources, resources
        return getattr(self._loader, name)


def watch(register: Register) -> None:
    """From here on this process and those that it forks are registered."""
    if not any(hasattr(finder, "watches_canaries") for finder in sys.meta_path):
        early = [name for name in _AROUND if name in sys.modules]
        if early:
            raise RuntimeError(f"loaded before the canaries were: {', '.join(early)}")
        sys.meta_path.insert(0, Watch(register))


def _give_way(folder: Path) -> None:
    """Runs the `sitecustomize` that stands behind this one."""
    others = [path for path in sys.path if Path(path or ".").absolute() != folder]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if __name__ == "sitecustomize":
    watch(Register(Path(__file__).absolute().parents[1]))
    _give_way(Path(__file__).absolute().parent)
