"""Backups on this machine: the file, the root secret that fits it, the locks, the signed heads."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyturn.ambient import SystemClock
from keyturn.domain.error import InstallationFault, StorageUnavailable
from keyturn.domain.instant import format_instant
from keyturn.server.build import make_context, opened
from keyturn.server.diagnose import database_fault
from keyturn.server.draft import private_draft
from keyturn.server.engines import open_store, sole_process
from keyturn.server.files import append_line
from keyturn.server.fitting import require_fitting, require_known, revision_of
from keyturn.server.heads import HeadsFile, read_lines
from keyturn.server.install import has_installation, make_folders
from keyturn.server.secret import RootSecret, load_root_secret
from keyturn.server.settings import Settings
from keyturn.services.attest import Notary
from keyturn.services.context import Context
from keyturn.services.preserve import Preserved, Progress, preserve
from keyturn.services.restore import (
    Choice,
    Loss,
    LossKind,
    Order,
    Restored,
    Weighed,
    find_done,
    read_heads,
    restore,
    weigh,
)
from keyturn.services.watch import DamageWatch
from keyturn.storage.archive import ArchiveReader, Manifest, Stamp
from keyturn.storage.migrate import known_revisions
from keyturn.storage.schema import requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A file that was found whole. `is_genuine` is None where there is no root secret to tell."""

    weighed: Weighed
    is_genuine: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack:
    """A restore that is done. `heads_kept_as` is where the old signed heads went, if they had to;
    where the signed heads cannot be written, `heads_fault` says why."""

    weighed: Weighed
    restored: Restored
    heads_kept_as: Path | None
    heads_fault: str | None


def back_up(
    settings: Settings,
    path: Path,
    *,
    replaces: bool,
    with_requests: bool,
    progress: Progress | None,
) -> Preserved:
    """Writes a backup, beside a server or without one. Raises `InstallationFault` where it cannot;
    then nothing is there that was not before."""
    with opened(settings, patient=True) as house:
        stamp = _stamp(load_root_secret(settings.root_secret_file))
        # So that it is known later whether anything was done after the backup.
        heads = HeadsFile(settings.heads_file, house.notary)
        heads.recall(house.context.store.memory)
        heads.keep_up(house.context)
        try:
            with private_draft(path, replaces=replaces) as file:
                return preserve(
                    house.context,
                    house.notary,
                    file,
                    stamp,
                    without=() if with_requests else (requests.name,),
                    progress=progress,
                )
        except OSError as error:
            raise InstallationFault(
                f"The backup cannot be written to {path} ({error.strerror}); there is none.",
                remedy="Check the path, the rights of this user, and that there is room on the "
                "disk.",
            ) from error
        except StorageUnavailable as error:
            raise database_fault(settings, error) from error


def check(settings: Settings, path: Path, heads: Path | None, progress: Progress | None) -> Checked:
    """Reads a backup to its end. Raises `InstallationFault` where it is not whole, or was not made
    under the root secret that is here."""
    with _opened_file(path) as reader:
        secret = None
        if settings.root_secret_file.exists():
            secret = load_root_secret(settings.root_secret_file)
        notary = None if secret is None else _notary(secret)
        is_ours = secret is not None and reader.manifest.root_fingerprint == secret.fingerprint
        signed = read_heads(notary, _lines(settings, heads)) if notary and is_ours else {}
        weighed = weigh(reader, signed, progress)
        if secret is None or not is_ours:
            return Checked(weighed=weighed, is_genuine=None)
        _require_genuine(path, reader, secret)
        return Checked(weighed=weighed, is_genuine=True)


def put_back(
    settings: Settings,
    path: Path,
    *,
    heads: Path | None,
    choice: Choice,
    progress: Progress | None,
) -> PutBack:
    """Restores a backup into a database without an installation. Raises `InstallationFault` where
    that cannot be, or must not be without a `choice`; then nothing has changed.

    Where it was broken off after the database had it, it does what is left when it is repeated.
    """
    with _opened_file(path) as reader:
        secret = _fitting_secret(settings, path, reader.manifest)
    make_folders(settings)
    with sole_process(settings) as is_sole:
        with _opened_file(path) as reader:
            signed = read_heads(_notary(secret), _lines(settings, heads))
            weighed = weigh(reader, signed, progress)
            _require_genuine(path, reader, secret)
        if not _is_vacant(settings):
            return _finish_earlier(settings, secret, weighed, choice)
        if weighed.loss.kind is not LossKind.NONE and choice is Choice.NONE:
            raise _would_lose(settings, weighed, heads)
        aside = None
        if weighed.loss.kind is not LossKind.NONE and settings.heads_file.exists():
            aside = _vacant_name(settings)

        def require_sole() -> None:
            if not is_sole():
                raise InstallationFault(
                    "Another Keyturn came to this database meanwhile; nothing was restored.",
                    remedy="Stop it, and repeat.",
                )

        order = Order(
            weighed=weighed,
            choice=choice,
            heads_kept_as=None if aside is None else aside.name,
            require_fitting=lambda found: require_fitting(settings, secret, found),
            require_sole=require_sole,
        )
        with _context(settings, secret, weighed) as context, _opened_file(path) as reader:
            restored = restore(context, _notary(secret), reader, order, progress)
        return _signed(settings, secret, weighed, restored, aside)


def _finish_earlier(
    settings: Settings, secret: RootSecret, weighed: Weighed, choice: Choice
) -> PutBack:
    require_known(settings)
    with _context(settings, secret, weighed) as context:
        restored, kept_as = find_done(context, weighed, choice)
    aside = None if kept_as is None else settings.heads_file.with_name(kept_as)
    return _signed(settings, secret, weighed, restored, aside)


def _signed(
    settings: Settings,
    secret: RootSecret,
    weighed: Weighed,
    restored: Restored,
    aside: Path | None,
) -> PutBack:
    """Moves the heads of the log that was given up aside, and signs the one that was restored."""
    fault = None
    file = settings.heads_file
    try:
        if aside is not None and file.exists() and not os.path.lexists(aside):
            file.rename(aside)
        head = _notary(secret).sign(restored.head, SystemClock().now())
        known = read_heads(_notary(secret), read_lines(file))
        if head.hash not in known.get(head.number, set()):
            append_line(file, head.line())
    except OSError as error:
        fault = f"{file} cannot be written ({error.strerror})"
    return PutBack(weighed=weighed, restored=restored, heads_kept_as=aside, heads_fault=fault)


def _is_vacant(settings: Settings) -> bool:
    """Whether there is no installation in the database, or no database at all."""
    path = settings.sqlite_path
    if path is not None and not path.exists():
        return True
    if revision_of(settings) is None:
        return True
    require_known(settings)
    return not has_installation(settings)


@contextmanager
def _context(settings: Settings, secret: RootSecret, weighed: Weighed) -> Iterator[Context]:
    path = settings.sqlite_path
    is_made = path is not None and not path.exists()
    if path is not None:
        path.touch(mode=0o600)
    try:
        store = open_store(settings, secret, DamageWatch(), patient=True)
        try:
            yield make_context(settings, secret, store, weighed.manifest.brand)
        except StorageUnavailable as error:
            raise database_fault(settings, error) from error
        finally:
            store.close()
    except BaseException:
        if path is not None and is_made:
            _unmake(settings, path)
        raise


def _unmake(settings: Settings, path: Path) -> None:
    """Takes the file of a database away that was made for nothing."""
    with contextlib.suppress(InstallationFault, OSError):
        if _is_vacant(settings):
            for suffix in ("", "-wal", "-shm"):
                path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)


@contextmanager
def _opened_file(path: Path) -> Iterator[ArchiveReader]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise InstallationFault(
            f"The file {path} cannot be read ({error.strerror}).",
            remedy="Name a file of `keyturn backup` that this user may read.",
        ) from error
    with file:
        try:
            yield ArchiveReader(file, str(path))
        except OSError as error:
            if error.filename is not None:
                raise
            raise InstallationFault(
                f"The file {path} cannot be read ({error.strerror}).",
                remedy="Name a file of `keyturn backup` that this user may read.",
            ) from error


def _lines(settings: Settings, heads: Path | None) -> Iterator[str]:
    yield from read_lines(settings.heads_file)
    if heads is not None:
        yield from read_lines(heads)


def _notary(secret: RootSecret) -> Notary:
    return Notary(secret.key("activity-heads"))


def _stamp(secret: RootSecret) -> Stamp:
    return Stamp(secret.key("backup"))


def _fitting_secret(settings: Settings, path: Path, manifest: Manifest) -> RootSecret:
    """The root secret that is here, which must be the backup's, as must be its revision."""
    if manifest.revision not in known_revisions():
        raise InstallationFault(
            f"{path} was made by a newer Keyturn ({manifest.keyturn}; its revision is "
            f"{manifest.revision}).",
            remedy="Install that version, and restore with it.",
        )
    file, needed = settings.root_secret_file, manifest.root_fingerprint
    if not file.exists():
        raise InstallationFault(
            f"There is no root secret at {file}; this backup needs the one with the fingerprint "
            f"{needed}.",
            remedy="Put your copy of it there (0600), or name it in KEYTURN_ROOT_SECRET_FILE. "
            "A new one would not do.",
        )
    secret = load_root_secret(file)
    if secret.fingerprint != needed:
        raise InstallationFault(
            f"The root secret at {file} (fingerprint {secret.fingerprint}) is not the one of this "
            f"backup, which needs the one with the fingerprint {needed}.",
            remedy="Name that one in KEYTURN_ROOT_SECRET_FILE.",
        )
    own = {str(version): print_ for version, print_ in secret.pepper_fingerprints.items()}
    for version, print_ in manifest.pepper_fingerprints.items():
        if own.get(version) != print_:
            raise InstallationFault(
                f"The root secret at {file} lacks pepper {version} (fingerprint {print_}), under "
                "which tokens of this backup stand.",
                remedy="Put the copy of it there that was in use when the backup was made.",
            )
    return secret


def _require_genuine(path: Path, reader: ArchiveReader, secret: RootSecret) -> None:
    if not _stamp(secret).fits(reader.ending):
        raise InstallationFault(
            f"{path} was edited after it was made: it does not bear the mark of the root secret.",
            remedy="Take another backup; one that somebody edited can make revoked keys work.",
        )


def _vacant_name(settings: Settings) -> Path:
    file = settings.heads_file
    moment = format_instant(SystemClock().now())[:19].replace(":", "-") + "Z"
    name = file.with_name(f"{file.name}.{moment}")
    count = 1
    while os.path.lexists(name):
        count += 1
        name = file.with_name(f"{file.name}.{moment}.{count}")
    return name


def _would_lose(settings: Settings, weighed: Weighed, heads: Path | None) -> InstallationFault:
    way = (
        "Restore a later backup if there is one. Else --suspend-keys restores it with every key "
        "suspended and every operator revoked, and --accept-loss as it is."
    )
    if weighed.loss.kind is LossKind.UNKNOWN:
        way = (
            "Put the newest copy of that file there, or name it with --heads. If there is none: "
            "--suspend-keys restores it with every key suspended and every operator revoked, and "
            "--accept-loss as it is."
        )
    return InstallationFault(told_loss(weighed, heads or settings.heads_file), remedy=way)


def told_loss(weighed: Weighed, file: Path) -> str:
    """What restoring would lose, in a sentence or two."""
    manifest, loss = weighed.manifest, weighed.loss
    made = f"made {format_instant(manifest.made_at)[:19]}Z, at entry {manifest.activity_number}"
    back = "Keys and operators that were revoked or narrowed since would work again."
    match loss.kind:
        case LossKind.NONE:
            return "Nothing is lost: the signed heads of the log go no further than this backup."
        case LossKind.LATER:
            return (
                f"The log went on to entry {loss.furthest} after this backup ({made}): "
                f"{_entries(loss)} would be lost. {back}"
            )
        case LossKind.OTHER:
            return (
                f"The log went another way than this backup ({made}), up to entry "
                f"{loss.furthest}: at most {_entries(loss)} would be lost. {back}"
            )
        case LossKind.UNKNOWN:
            seen = (
                f"The signed heads in {file} end at entry {loss.furthest}"
                if loss.furthest
                else f"There are no signed heads in {file}"
            )
            return (
                f"{seen}: whether the log went on after this backup ({made}) cannot be told. {back}"
            )


def _entries(loss: Loss) -> str:
    return "1 entry" if loss.entries == 1 else f"{loss.entries} entries"
