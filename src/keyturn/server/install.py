"""Making an installation on this machine: folder, root secret, database, the first token's file."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from keyturn.ambient import SystemEntropy
from keyturn.domain.error import InstallationFault
from keyturn.domain.token import Token
from keyturn.server.build import DEFAULT_BRAND, make_context, migration_engine, open_store
from keyturn.server.files import make_private_folder, write_private
from keyturn.server.secret import load_root_secret, make_root_secret
from keyturn.server.settings import Settings
from keyturn.services.install import FirstInstallation
from keyturn.services.watch import DamageWatch
from keyturn.storage.migrate import known_revisions, migrate, present_revision

TOKEN_FILE = "operator.token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A new installation. `token_file` is None where the token was asked for on the terminal."""

    workspace_id: str
    token_file: Path | None
    token: Token


def is_installed(settings: Settings) -> bool:
    """Whether the settings name a database that has an installation."""
    path = settings.sqlite_path
    if path is not None and not path.is_file():
        return False
    if not settings.root_secret_file.is_file():
        return False
    if _revision(settings) is None:
        return False
    store = open_store(settings, load_root_secret(settings.root_secret_file), DamageWatch())
    try:
        with store.read() as transaction:
            return transaction.installation.find() is not None
    finally:
        store.close()


def install(settings: Settings, output: Path | None, *, to_file: bool = True) -> Made:
    """Makes the installation; may be repeated where it was interrupted.

    The token is on the disk before the installation exists, so no crash can lose it. Raises
    `InstallationFault` where there is an installation already.
    """
    make_private_folder(settings.home)
    path = settings.sqlite_path
    if path is not None:
        make_private_folder(path.parent)
    entropy = SystemEntropy()
    if settings.root_secret_file.exists():
        secret = load_root_secret(settings.root_secret_file)
    elif _has_tables(settings):
        raise InstallationFault(
            f"The database has an installation, whose root secret is not at "
            f"{settings.root_secret_file}.",
            remedy="Name its file in KEYTURN_ROOT_SECRET_FILE, or name another database.",
        )
    else:
        make_private_folder(settings.root_secret_file.parent)
        secret = make_root_secret(settings.root_secret_file, entropy)
    run_migrations(settings)
    store = open_store(settings, secret, DamageWatch())
    try:
        context = make_context(settings, secret, store, settings.brand or DEFAULT_BRAND)
        with store.read() as transaction:
            if transaction.installation.find() is not None:
                raise InstallationFault(
                    "There is an installation already.",
                    remedy="Start it with `keyturn serve`, or name another KEYTURN_HOME.",
                )
        first = FirstInstallation(context)
        token_file = (output or settings.home / TOKEN_FILE) if to_file else None
        if token_file is not None:
            write_private(token_file, first.token.reveal() + "\n")
        made = first.keep(
            root_fingerprint=secret.fingerprint, pepper_fingerprints=secret.pepper_fingerprints
        )
    finally:
        store.close()
    return Made(workspace_id=str(made.workspace_id), token_file=token_file, token=made.token)


def run_migrations(settings: Settings) -> tuple[str | None, str | None]:
    """Brings the database to the newest revision. Returns the revisions before and after."""
    engine = migration_engine(settings)
    try:
        before = present_revision(engine)
        if before is not None and before not in known_revisions():
            raise InstallationFault(
                f"The database was made by a newer Keyturn (its revision is {before}).",
                remedy="Install that version again; data is never migrated backwards.",
            )
        migrate(engine)
        after = present_revision(engine)
    except SQLAlchemyError as error:
        raise InstallationFault(
            "The database cannot be migrated; it is as it was.",
            remedy="Check KEYTURN_DATABASE_URL, that the server runs, and the user's rights.",
        ) from error
    finally:
        engine.dispose()
    path = settings.sqlite_path
    if path is not None:
        path.chmod(0o600)
    return before, after


def _revision(settings: Settings) -> str | None:
    engine = migration_engine(settings)
    try:
        return present_revision(engine)
    except SQLAlchemyError as error:
        raise InstallationFault(
            "The database cannot be reached.",
            remedy="Check KEYTURN_DATABASE_URL, and that the server runs.",
        ) from error
    finally:
        engine.dispose()


def _has_tables(settings: Settings) -> bool:
    path = settings.sqlite_path
    if path is not None and not path.is_file():
        return False
    return _revision(settings) is not None
