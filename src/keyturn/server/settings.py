"""Settings: `keyturn.toml` in the working folder, and `KEYTURN_…` variables, which go before it.

Every faulty setting is named at once, with its remedy. `SETTINGS` is the whole list; the reference
is generated from it.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from keyturn.destinations.command import parse_commands
from keyturn.domain.channel import is_address
from keyturn.domain.error import InstallationFault
from keyturn.domain.slot import KNOWN_ENVIRONMENTS
from keyturn.domain.token import BRAND, ENVIRONMENT, OPERATOR_ENVIRONMENT
from keyturn.outbound.guard import AllowedNetwork, parse_allowed

FILE = "keyturn.toml"
DELIVERED = "delivered"
MOST_FRESHNESS_SECONDS = 30
PREFIX = "KEYTURN_"
# The client's side reads these; they are none of ours, and no slip either.
CLIENT_SETTINGS = frozenset(
    {"KEYTURN_URL", "KEYTURN_API_KEY", "KEYTURN_API_KEY_FILE", "KEYTURN_WORKSPACE"}
)

_NODE_NAME = re.compile(r"[A-Za-z0-9._:-]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an installation is started with. `database_url` names SQLite or PostgreSQL."""

    home: Path
    database_url: str
    host: str
    port: int
    brand: str | None
    root_secret_file: Path
    trusted_proxies: int
    environment: str
    environments: frozenset[str]
    request_retention_days: int
    activity_retention_days: int
    body_timeout_seconds: float
    outbound_networks: tuple[AllowedNetwork, ...]
    delivery_folder: Path
    delivery_commands: Mapping[str, tuple[str, ...]]
    freshness_seconds: int = 5
    node_name: str | None = None
    probe_seconds: int = 300
    mail_server: str | None = None
    mail_password_file: Path | None = None
    mail_from: str | None = None

    @property
    def sqlite_path(self) -> Path | None:
        """The file of an SQLite database, None for PostgreSQL."""
        if not self.database_url.startswith("sqlite:"):
            return None
        return Path(self.database_url.removeprefix("sqlite:///"))

    @property
    def heads_file(self) -> Path:
        return self.home / "activity.heads"

    @property
    def checks_file(self) -> Path:
        return self.home / "activity.checks"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its name, what it is, its default as text, and how its text is read."""

    name: str
    meaning: str
    default: str
    read: Callable[[str], object]

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def remedy(self) -> str:
        what = self.meaning[0].lower() + self.meaning[1:]
        without = f"without it, it is {self.default}" if self.default else "it may be left out"
        return f"It is {what}; {without}."


def _path(text: str) -> Path:
    if not text or not text.isprintable():
        raise ValueError("a path")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError("a path: there is no such user") from None


def _database_url(text: str) -> str:
    """The address, checked as far as can be told without asking its server. What is wrong with it
    is never repeated: it may be a part of the password."""
    if text.startswith("sqlite:///") and len(text) > len("sqlite:///") and ":memory:" not in text:
        return f"sqlite:///{_path(text.removeprefix('sqlite:///'))}"
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("`sqlite:///<file>` or `postgresql://<user>@<host>/<database>`")
    url = "postgresql://" + text.partition("://")[2]
    try:
        parts = urlsplit(url)
        is_whole = parts.port != 0 and bool(parts.path.strip("/"))
    except ValueError:
        is_whole = False
    if not is_whole or not url.isprintable() or " " in url:
        raise ValueError(
            "an address of PostgreSQL like `postgresql://<user>:<password>@<host>:5432/<database>`,"
            " with anything but letters and digits in the password as `%XX`"
        )
    return url


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise ValueError(f"a whole number from {lowest} to {highest}")
        return int(text)

    return read


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 600:
        raise ValueError("seconds, from 0.1 to 600")
    return seconds


def _networks(text: str) -> tuple[AllowedNetwork, ...]:
    try:
        return parse_allowed(text)
    except ValueError:
        raise ValueError(
            "networks with or without a port, separated by commas, like "
            "`10.0.0.0/8,127.0.0.1:8200`, with no bits set behind the prefix"
        ) from None


def _mail_server(text: str) -> str:
    """The address, checked as far as can be told without asking. What is wrong with it is never
    repeated: it may be a password."""
    try:
        parts = urlsplit(text)
        is_whole = (
            parts.scheme in ("smtp", "smtps")
            and bool(parts.hostname)
            and parts.port != 0
            and parts.password is None
            and parts.path in ("", "/")
            and not (parts.query or parts.fragment)
        )
    except ValueError:
        is_whole = False
    if not is_whole or not text.isprintable() or " " in text:
        raise ValueError(
            "an address like `smtps://user@mail.example.com:465` or `smtp://mail.example.com:587`, "
            "without a password, which stands in a file of its own"
        )
    return text


def _mail_from(text: str) -> str:
    if not is_address(text) or "." not in text.rpartition("@")[2]:
        raise ValueError("an e-mail address like `keyturn@example.com`")
    return text


def _brand(text: str) -> str:
    if BRAND.fullmatch(text) is None:
        raise ValueError("2 to 8 lowercase letters")
    return text


def _host(text: str) -> str:
    if not text or any(letter.isspace() or letter == "/" for letter in text):
        raise ValueError("an address or a name to listen on")
    return text


def _node_name(text: str) -> str:
    if _NODE_NAME.fullmatch(text) is None:
        raise ValueError("1 to 100 letters, digits and `.`, `-`, `_`, `:`")
    return text


def _environment(text: str) -> str:
    if ENVIRONMENT.fullmatch(text) is None:
        raise ValueError("1 to 16 of a-z and 0-9")
    return text


def _environments(text: str) -> frozenset[str]:
    names = [name.strip() for name in text.split(",")]
    if OPERATOR_ENVIRONMENT in names or any(ENVIRONMENT.fullmatch(name) is None for name in names):
        raise ValueError("names of 1 to 16 of a-z and 0-9, separated by commas, without `operator`")
    return frozenset(names)


def _commands(text: str) -> Mapping[str, tuple[str, ...]]:
    try:
        return parse_commands(text)
    except ValueError as error:
        raise ValueError(f"a list of programs: {error}") from None


SETTINGS = (
    Setting("home", "The data folder", "./.keyturn", _path),
    Setting(
        "database_url",
        "The database: `sqlite:///<file>` or `postgresql://…`",
        "sqlite:///<home>/keyturn.db",
        _database_url,
    ),
    Setting("host", "The address to listen on", "127.0.0.1", _host),
    Setting("port", "The port to listen on", "8420", _whole(0, 65_535)),
    Setting("brand", "The first part of every token; fixed at installation", "kt", _brand),
    Setting(
        "freshness_seconds",
        "With PostgreSQL: how long a node that is cut off goes on verifying by what it has, and so "
        "how late a revocation is at the most",
        "5",
        _whole(1, MOST_FRESHNESS_SECONDS),
    ),
    Setting(
        "node_name",
        "With PostgreSQL: what this node is called among the others",
        "<host name>:<port>",
        _node_name,
    ),
    Setting(
        "probe_seconds",
        "With PostgreSQL: how often it is measured how soon a revocation is effective on every "
        "node; 0 is never",
        "300",
        _whole(0, 86_400),
    ),
    Setting("root_secret_file", "The file of the root secret (0600)", "<home>/root.secret", _path),
    Setting(
        "trusted_proxies",
        "How many trusted hops in front append to X-Forwarded-For",
        "0",
        _whole(0, 16),
    ),
    Setting("environment", "What this installation is called in its health", "", _environment),
    Setting(
        "environments",
        "The environments that a key's name may end in",
        ",".join(KNOWN_ENVIRONMENTS),
        _environments,
    ),
    Setting("request_retention_days", "How long requests are kept", "90", _whole(1, 3_650)),
    Setting(
        "activity_retention_days",
        "How long the content of activity is kept",
        "400",
        _whole(1, 36_500),
    ),
    Setting("body_timeout_seconds", "How long a body may take to arrive", "10", _seconds),
    Setting(
        "outbound_networks",
        "Networks, beside the public ones, that destinations and webhooks may be in: "
        "`10.0.0.0/8,127.0.0.1:8200`",
        "",
        _networks,
    ),
    Setting(
        "delivery_folder",
        "Where destinations of kind `file` have their files, each workspace below its id",
        "<home>/delivered",
        _path,
    ),
    Setting(
        "delivery_commands",
        "The programs that destinations of kind `command` may run: "
        "`name=/path/to/program argument;other=/path`",
        "",
        _commands,
    ),
    Setting(
        "mail_server",
        "The mail server of notifications: `smtps://user@host:465` or `smtp://host:587`",
        "",
        _mail_server,
    ),
    Setting("mail_password_file", "The file of the mail server's password (0600)", "", _path),
    Setting("mail_from", "The address that notifications are sent from", "", _mail_from),
)


class SettingsFault(InstallationFault):
    """Everything that is wrong with the settings, each with its remedy."""

    code = "settings.fault"
    title = "The settings cannot be used"

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        lines = "\n".join(f"  {problem}\n    → {remedy}" for problem, remedy in faults)
        super().__init__(f"The settings cannot be used:\n{lines}", remedy="Mend them and repeat.")
        self.faults = tuple(faults)


def load_settings(
    environ: Mapping[str, str], folder: Path, *, default_environment: str
) -> tuple[Settings, list[str]]:
    """The settings, and warnings. Raises `SettingsFault` naming every fault at once."""
    faults: list[tuple[str, str]] = []
    texts = _from_file(folder / FILE, faults)
    values: dict[str, Any] = {}
    given: set[str] = set()
    for setting in SETTINGS:
        place, text = setting.variable, environ.get(setting.variable)
        if text is None:
            place, text = f"`{setting.name}` in {folder / FILE}", texts.get(setting.name)
        if text is None:
            continue
        given.add(setting.name)
        try:
            values[setting.name] = setting.read(text)
        except ValueError as error:
            faults.append((f"{place} is not {error}.", setting.remedy))
    faults += _missing_mail(values, given)
    if faults:
        raise SettingsFault(faults)
    known = {one.variable for one in SETTINGS} | CLIENT_SETTINGS
    warnings = [
        f"{name} is no setting of this version and is ignored. {_nearest(name)}"
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known
    ]
    return _settings(values, default_environment), warnings


def _missing_mail(values: Mapping[str, Any], given: set[str]) -> list[tuple[str, str]]:
    """What of the mail settings is there without what it needs. What is not right is told of
    already, and is not missing as well."""
    if "mail_server" in values and "mail_from" not in given:
        return [("KEYTURN_MAIL_SERVER is set without KEYTURN_MAIL_FROM.", "Name a sender.")]
    for name in ("mail_from", "mail_password_file"):
        if name in values and "mail_server" not in given:
            variable = f"{PREFIX}{name.upper()}"
            return [(f"{variable} is set without KEYTURN_MAIL_SERVER.", "Name the server.")]
    return []


def _settings(values: dict[str, Any], default_environment: str) -> Settings:
    home: Path = values.get("home") or _path("./.keyturn")
    return Settings(
        home=home,
        database_url=values.get("database_url") or f"sqlite:///{home / 'keyturn.db'}",
        host=values.get("host", "127.0.0.1"),
        port=values.get("port", 8420),
        brand=values.get("brand"),
        root_secret_file=values.get("root_secret_file") or home / "root.secret",
        freshness_seconds=values.get("freshness_seconds", 5),
        node_name=values.get("node_name"),
        probe_seconds=values.get("probe_seconds", 300),
        trusted_proxies=values.get("trusted_proxies", 0),
        environment=values.get("environment", default_environment),
        environments=values.get("environments", frozenset(KNOWN_ENVIRONMENTS)),
        request_retention_days=values.get("request_retention_days", 90),
        activity_retention_days=values.get("activity_retention_days", 400),
        body_timeout_seconds=values.get("body_timeout_seconds", 10.0),
        outbound_networks=values.get("outbound_networks", ()),
        delivery_folder=values.get("delivery_folder") or home / DELIVERED,
        delivery_commands=values.get("delivery_commands", {}),
        mail_server=values.get("mail_server"),
        mail_password_file=values.get("mail_password_file"),
        mail_from=values.get("mail_from"),
    )


def _from_file(path: Path, faults: list[tuple[str, str]]) -> dict[str, str]:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        faults.append((f"{path} cannot be read ({error.strerror}).", "Let this user read it."))
        return {}
    except ValueError as error:
        faults.append((f"{path} cannot be read as TOML ({error}).", "Mend the file."))
        return {}
    names = {one.name for one in SETTINGS}
    texts = {}
    for name, value in content.items():
        if name not in names:
            faults.append((f"{path} has `{name}`, which is no setting.", _nearest(name)))
        elif isinstance(value, list):
            texts[name] = ",".join(str(member) for member in value)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            texts[name] = str(value)
        else:
            faults.append((f"{path} has no usable value for `{name}`.", "Give a text or a number."))
    return texts


def _nearest(name: str) -> str:
    """What was meant, perhaps, by a name that is none of ours."""
    is_variable = name.startswith(PREFIX)
    meant = name.removeprefix(PREFIX).lower()
    for one in SETTINGS:
        if difflib.get_close_matches(meant, [one.name], cutoff=0.7):
            return f"Did you mean {one.variable if is_variable else one.name}?"
    return "Take it out."
