"""Making an installation on this machine: folder, root secret, database, the first token's file."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from keyturn.ambient import SystemEntropy
from keyturn.domain.error import InstallationFault, StorageUnavailable
from keyturn.domain.seal import Sealer
from keyturn.domain.token import Token
from keyturn.server.build import DEFAULT_BRAND, make_context
from keyturn.server.diagnose import database_fault
from keyturn.server.engines import migration_engine, open_store, sole_process
from keyturn.server.files import make_private_folder, write_private
from keyturn.server.fitting import require_known, revision_of
from keyturn.server.secret import RootSecret, load_root_secret, make_root_secret
from keyturn.server.settings import Settings
from keyturn.services.install import FirstInstallation
from keyturn.services.watch import DamageWatch
from keyturn.storage.installation import InstallationRow
from keyturn.storage.migrate import migrate
from keyturn.storage.session import Session

TOKEN_FILE = "operator.token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A new installation. `token_file` is None where its token was shown instead."""

    workspace_id: str
    token_file: Path | None


def is_installed(settings: Settings) -> bool:
    """Whether the settings name a database that has an installation, and its root secret."""
    return settings.root_secret_file.is_file() and has_installation(settings)


def install(
    settings: Settings, output: Path | None = None, show: Callable[[Token], None] | None = None
) -> Made:
    """Makes the installation; may be repeated where it was interrupted.

    The first operator's token goes to `show`, or else to the file `output`, before the installation
    exists, so that no crash and no full disk can lose it. Raises `InstallationFault` where there is
    an installation already.
    """
    make_folders(settings)
    # Of two at once the second would put its root secret in the place of the first one's.
    with sole_process(settings):
        return _install(settings, output, show)


def make_folders(settings: Settings) -> None:
    """The data folder and the database's, where they are missing."""
    make_private_folder(settings.home)
    if settings.sqlite_path is not None:
        make_private_folder(settings.sqlite_path.parent)


def make_ready(settings: Settings) -> None:
    """Makes the installation, or brings it to this version; who calls holds `sole_process`."""
    if is_installed(settings):
        _bring_up(settings)
    else:
        _install(settings, None, None)


def _install(settings: Settings, output: Path | None, show: Callable[[Token], None] | None) -> Made:
    if has_installation(settings):
        raise InstallationFault(_told_installed(settings), remedy=_way_on(settings))
    if output is not None:
        require_vacant(output)
    secret = _own_secret(settings)
    _migrate(settings)
    store = open_store(settings, secret, DamageWatch())
    try:
        context = make_context(settings, secret, store, settings.brand or DEFAULT_BRAND)
        first = FirstInstallation(context)
        token_file = None if show is not None else output or settings.home / TOKEN_FILE
        if show is not None:
            show(first.token)
        elif token_file is not None:
            _keep_token(token_file, first.token)
        made = first.keep(
            root_fingerprint=secret.fingerprint, pepper_fingerprints=secret.pepper_fingerprints
        )
    except StorageUnavailable as error:
        raise database_fault(settings, error) from error
    finally:
        store.close()
    return Made(workspace_id=str(made.workspace_id), token_file=token_file)


def _told_installed(settings: Settings) -> str:
    if settings.root_secret_file.is_file():
        return "There is an installation already."
    return (
        "The database has an installation, whose root secret is not at "
        f"{settings.root_secret_file}."
    )


def _way_on(settings: Settings) -> str:
    if settings.root_secret_file.is_file():
        return "Start it with `keyturn serve`, or name another KEYTURN_HOME."
    return "Name its file in KEYTURN_ROOT_SECRET_FILE, or name another database."


def _own_secret(settings: Settings) -> RootSecret:
    path = settings.root_secret_file
    if path.exists():
        return load_root_secret(path)
    make_private_folder(path.parent)
    return make_root_secret(path, SystemEntropy())


def require_vacant(path: Path) -> None:
    """Raises `InstallationFault` where something is that a token's file would take the place of."""
    if os.path.lexists(path) and not path.is_dir():
        raise InstallationFault(
            f"There is something at {path} already, which is not written over.",
            remedy="Name another file with --output, or remove it first.",
        )


def _keep_token(path: Path, token: Token) -> None:
    try:
        write_private(path, token.reveal() + "\n")
    except OSError as error:
        raise InstallationFault(
            f"The operator's token cannot be written to {path} ({error.strerror}); there is no "
            "installation yet.",
            remedy="Name another file with --output, and repeat.",
        ) from error


def run_migrations(settings: Settings) -> tuple[str, str]:
    """Brings the database of an installation to the newest revision. Returns the revisions before
    and after. Raises `InstallationFault`, also while it is served."""
    with sole_process(settings):
        return _bring_up(settings)


def _bring_up(settings: Settings) -> tuple[str, str]:
    before = require_known(settings)
    if not has_installation(settings):
        raise InstallationFault(
            "The database has no installation.", remedy="Run `keyturn init` first."
        )
    _migrate(settings)
    return before, revision_of(settings) or before


def _migrate(settings: Settings) -> None:
    engine = migration_engine(settings, patient=True)
    try:
        migrate(engine)
    except SQLAlchemyError as error:
        raise database_fault(settings, error) from error
    finally:
        engine.dispose()
    if settings.sqlite_path is not None:
        settings.sqlite_path.chmod(0o600)


def _is_there(settings: Settings) -> bool:
    return settings.sqlite_path is None or settings.sqlite_path.is_file()


def has_installation(settings: Settings) -> bool:
    """Whether an installation stands in the database. It is not sealed, so no secret is needed."""
    if not _is_there(settings) or revision_of(settings) is None:
        return False
    require_known(settings)
    engine = migration_engine(settings)
    try:
        with engine.begin() as connection:
            return InstallationRow(Session(connection, Sealer(bytes(32)))).find() is not None
    except SQLAlchemyError as error:
        raise database_fault(settings, error) from error
    finally:
        engine.dispose()
