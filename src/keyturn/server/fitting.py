"""Whether a database and a root secret are the ones that belong together, at a revision that this
version knows."""

from sqlalchemy.exc import SQLAlchemyError

from keyturn.domain.error import InstallationFault
from keyturn.server.diagnose import database_fault
from keyturn.server.engines import migration_engine
from keyturn.server.secret import RootSecret
from keyturn.server.settings import Settings
from keyturn.storage.installation import Installation
from keyturn.storage.migrate import known_revisions, newest_revision, present_revision


def require_present(settings: Settings) -> None:
    """Raises `InstallationFault` unless the database is there, at the revision that we need."""
    revision = require_known(settings)
    if revision == newest_revision():
        return
    raise InstallationFault(
        f"The database is at revision {revision}, this version needs {newest_revision()}.",
        remedy="Back it up with the version that it is of, or copy it with its engine's own tools; "
        "then run `keyturn migrate`.",
    )


def require_known(settings: Settings) -> str:
    """The revision of the database. Raises `InstallationFault` unless it is one that we know."""
    path = settings.sqlite_path
    if path is not None and not path.is_file():
        raise InstallationFault(
            f"There is no database at {path}.",
            remedy="Run `keyturn init` first, or name the right one in KEYTURN_HOME or "
            "KEYTURN_DATABASE_URL.",
        )
    revision = revision_of(settings)
    if revision is None:
        raise InstallationFault(
            "The database has no installation.",
            remedy="Run `keyturn init` first, or name the right one in KEYTURN_DATABASE_URL.",
        )
    if revision not in known_revisions():
        raise InstallationFault(
            f"The database was made by a newer Keyturn (its revision is {revision}).",
            remedy="Install that version again; data is never migrated backwards.",
        )
    return revision


def revision_of(settings: Settings) -> str | None:
    """The revision of the database, None for one without our tables. Raises
    `InstallationFault`."""
    engine = migration_engine(settings)
    try:
        return present_revision(engine)
    except SQLAlchemyError as error:
        raise database_fault(settings, error) from error
    finally:
        engine.dispose()


def require_fitting(
    settings: Settings, secret: RootSecret, installation: Installation | None
) -> str:
    """The brand of the installation. Raises `InstallationFault` where the secret, the peppers or
    the brand are not the ones that it was made with."""
    if installation is None:
        raise InstallationFault(
            "The database has no installation.", remedy="Run `keyturn init` first."
        )
    if installation.root_fingerprint != secret.fingerprint:
        raise InstallationFault(
            f"The root secret (fingerprint {secret.fingerprint}) is not the one of this database "
            f"(fingerprint {installation.root_fingerprint}).",
            remedy="Name the right file in KEYTURN_ROOT_SECRET_FILE.",
        )
    for version, fingerprint in installation.pepper_fingerprints.items():
        if secret.pepper_fingerprints.get(version) != fingerprint:
            raise InstallationFault(
                f"The root secret at {settings.root_secret_file} lacks pepper {version} of this "
                "database: it is a copy from before `keyturn pepper rotate`, or another's.",
                remedy="Put the newest copy of the file there, from the machine where the pepper "
                "was rotated or from your escrow. What was made under this pepper needs it.",
            )
    if settings.brand is not None and settings.brand != installation.brand:
        raise InstallationFault(
            f"KEYTURN_BRAND is {settings.brand}, but this installation's brand is "
            f"{installation.brand}, which stands in every token.",
            remedy="Take KEYTURN_BRAND out of the settings.",
        )
    return installation.brand
