"""The doctor: looks at everything that an installation stands on, and changes nothing."""

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from keyturn.ambient import SystemClock
from keyturn.domain.error import InstallationFault, KeyturnError, StorageUnavailable
from keyturn.domain.instant import SECOND, format_instant
from keyturn.server.build import House, opened
from keyturn.server.engines import ask_durability
from keyturn.server.fitting import require_present
from keyturn.server.heads import read_lines
from keyturn.server.secret import load_root_secret
from keyturn.server.settings import Settings, SettingsFault, load_settings
from keyturn.services.wrap import survey

WORST_CLOCK_SECONDS = 2.0
EARLIEST_YEAR = "2025"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at. `remedy` is empty where nothing needs to be done."""

    name: str
    status: Literal["ok", "warning", "fault", "unknown"]
    detail: str
    remedy: str = ""


def examine(environ: Mapping[str, str], folder: Path) -> list[Check]:
    """All checks, in the order in which they depend on each other."""
    try:
        settings, warnings = load_settings(environ, folder, default_environment="production")
    except SettingsFault as fault:
        return [
            Check(name="settings", status="fault", detail=problem, remedy=remedy)
            for problem, remedy in fault.faults
        ]
    checks = [Check(name="settings", status="ok", detail=f"data folder {settings.home}")]
    checks += [Check(name="settings", status="warning", detail=text) for text in warnings]
    checks.append(_checked("data folder", lambda: _folder(settings)))
    checks.append(_checked("root secret", lambda: _secret(settings)))
    checks.append(_checked("database", lambda: _database(settings)))
    if any(check.status == "fault" for check in checks):
        return checks
    if settings.sqlite_path is None:
        checks.append(_checked("durability", lambda: _durability(settings)))
    try:
        with opened(settings) as house:
            checks.append(_checked("fingerprint", lambda: _fingerprint(settings)))
            checks.append(_checked("peppers", lambda: _peppers(house)))
            checks.append(_checked("clock", lambda: _clock(house)))
            checks.append(_checked("log", lambda: _log(house)))
    except KeyturnError as error:
        checks.append(_faulty("fingerprint", error))
    return checks


def _checked(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except KeyturnError as error:
        return _faulty(name, error)
    except OSError as error:
        return Check(
            name=name,
            status="fault",
            detail=f"{error.filename}: {error.strerror}.",
            remedy="Check that it is what it should be, and that this user may read it.",
        )


def _faulty(name: str, error: KeyturnError) -> Check:
    remedy = "Run `keyturn activity verify`, and restore the database from a backup."
    if isinstance(error, InstallationFault):
        remedy = error.remedy
    elif isinstance(error, StorageUnavailable):
        remedy = "Repeat; if it stays so, see the log of the database."
    return Check(name=name, status="fault", detail=error.detail, remedy=remedy)


def _folder(settings: Settings) -> Check:
    name = "data folder"
    if not settings.home.is_dir():
        raise InstallationFault(
            f"There is no folder {settings.home}.", remedy="Run `keyturn init`."
        )
    if stat.S_IMODE(settings.home.stat().st_mode) & 0o077:
        raise InstallationFault(
            f"Others can look into {settings.home}.", remedy=f"Run `chmod 700 {settings.home}`."
        )
    return Check(name=name, status="ok", detail="for its owner alone")


def _secret(settings: Settings) -> Check:
    load_root_secret(settings.root_secret_file)
    return Check(
        name="root secret", status="ok", detail=f"{settings.root_secret_file}, owner alone"
    )


def _database(settings: Settings) -> Check:
    require_present(settings)
    path = settings.sqlite_path
    detail = "PostgreSQL, migrated" if path is None else f"SQLite, {path}, migrated"
    return Check(name="database", status="ok", detail=detail)


def _durability(settings: Settings) -> Check:
    """Only warned of: a database that is tried out need keep nothing."""
    name, found = "durability", ask_durability(settings)
    if found is None:
        return Check(name=name, status="ok", detail="commits are kept")
    if found.unsafe:
        return Check(
            name=name,
            status="warning",
            detail=f"off in PostgreSQL: {', '.join(found.unsafe)}; a power cut may lose what was "
            "answered, revocations too, or all of it",
            remedy="Set it to on there, and reload PostgreSQL.",
        )
    if found.standbys and not found.is_synchronous:
        return Check(
            name=name,
            status="warning",
            detail=f"standbys that no commit waits for: {found.standbys}; where one takes over, "
            "the last revocations may be lost",
            remedy="Name in `synchronous_standby_names` those that may take over.",
        )
    waits = ", and wait for a standby" if found.is_synchronous else ""
    return Check(name=name, status="ok", detail=f"commits are kept{waits}")


def _fingerprint(settings: Settings) -> Check:
    secret = load_root_secret(settings.root_secret_file)
    detail = f"{secret.fingerprint}, the database's own"
    return Check(name="fingerprint", status="ok", detail=detail)


def _peppers(house: House) -> Check:
    found = survey(house.context)
    newest = max(house.context.ring.versions)
    if newest > found.newest or found.is_unfinished:
        return Check(
            name="peppers",
            status="warning",
            detail=f"a rotation to pepper {newest} is unfinished",
            remedy="Run `keyturn pepper rotate`, which finishes it; every token works meanwhile.",
        )
    detail = f"every sound record of {found.total} stands under pepper {newest}"
    return Check(name="peppers", status="ok", detail=detail)


def _clock(house: House) -> Check:
    clock = SystemClock()
    now = clock.now()
    if format_instant(now)[:4] < EARLIEST_YEAR:
        raise InstallationFault(
            f"The clock says {format_instant(now)}.", remedy="Set it, and keep it set by NTP."
        )
    skew = (house.context.store.ping() - now) / SECOND
    if abs(skew) > WORST_CLOCK_SECONDS:
        raise InstallationFault(
            f"The database's clock differs from this machine's by {skew:.1f} s.",
            remedy="Keep both set by NTP.",
        )
    with house.context.store.read() as transaction:
        newest = transaction.activity.newest_at()
    if newest is not None and newest > now + WORST_CLOCK_SECONDS * SECOND:
        raise InstallationFault(
            f"The newest entry of the log is of {format_instant(newest)}, which is yet to come.",
            remedy="The clock was set back; set it right, and keep it set by NTP.",
        )
    return Check(name="clock", status="ok", detail=f"{abs(skew):.1f} s from the database's")


def _log(house: House) -> Check:
    with house.context.store.read() as transaction:
        head = transaction.head()
    lines = list(read_lines(house.settings.heads_file))
    signed = house.notary.read(lines[-1]) if lines else None
    if signed is not None and signed.number > head.activity_number:
        raise InstallationFault(
            f"The log ends at entry {head.activity_number}, but entry {signed.number} was signed.",
            remedy="An old copy was restored, or the end was cut off; run `keyturn activity "
            "verify`.",
        )
    detail = (
        f"its end is sound, at {head.activity_number} entries and {head.position} changes; "
        "`keyturn activity verify` checks all of it"
    )
    return Check(name="log", status="ok", detail=detail)
