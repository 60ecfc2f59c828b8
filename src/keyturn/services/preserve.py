"""Preserving an installation: one consistent view of all its tables, written as a backup."""

from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from typing import IO

from keyturn import __version__
from keyturn.domain.error import InstallationFault
from keyturn.services.attest import Notary, attest_within
from keyturn.services.context import Context
from keyturn.storage.archive import ArchiveWriter, Ending, Manifest, Stamp, Summary
from keyturn.storage.log import Head
from keyturn.storage.migrate import newest_revision
from keyturn.storage.tables import count_rows, read_rows, sections
from keyturn.storage.transaction import Reading

MOST_FAULTS = 1_000
_STEP = 1_000

# What is being done, how much of it, and of how much (0 where that is not known). What it raises
# breaks all off.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preserved:
    """A backup that was written. `too_large` rows were none of ours, and are not in it."""

    manifest: Manifest
    summary: Summary
    ending: Ending
    too_large: int


def preserve(
    context: Context,
    notary: Notary,
    file: IO[bytes],
    stamp: Stamp,
    *,
    without: Collection[str] = (),
    progress: Progress | None = None,
) -> Preserved:
    """Writes everything that one read transaction sees, without the rows of the tables `without`.

    What was damaged is written as it is, and told of. Raises `IntegrityFailed` where the head of
    the log was tampered with, and what writing to `file` raises.
    """
    with context.store.read() as transaction:
        manifest = _manifest(context, transaction, without)
        writer = ArchiveWriter(file, manifest)
        too_large = 0
        for section in sections():
            writer.begin(section)
            if section.table in without:
                continue
            total = 0 if progress is None else count_rows(transaction.session, section)
            with closing(read_rows(transaction.session, section)) as rows:
                for done, row in enumerate(rows, start=1):
                    too_large += not writer.row(row)
                    if progress is not None and (done % _STEP == 0 or done == total):
                        progress(section.table, done, total)
        found = attest_within(
            transaction,
            context.clock.now(),
            notary,
            progress=None if progress is None else _named(progress, "checking the log"),
        )
        summary, ending = writer.finish(found.faults, MOST_FAULTS, stamp)
    return Preserved(manifest=manifest, summary=summary, ending=ending, too_large=too_large)


def _named(progress: Progress, what: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(what, done, total)


def _manifest(context: Context, transaction: Reading, without: Collection[str]) -> Manifest:
    installation = transaction.installation.find()
    if installation is None:
        raise InstallationFault(
            "The database has no installation.", remedy="Run `keyturn init` first."
        )
    head: Head = transaction.head()
    return Manifest(
        keyturn=__version__,
        engine=context.store.engine,
        revision=newest_revision(),
        made_at=context.clock.now(),
        installation_id=str(installation.installation_id),
        brand=installation.brand,
        root_fingerprint=installation.root_fingerprint,
        pepper_fingerprints={
            str(version): print_ for version, print_ in installation.pepper_fingerprints.items()
        },
        left_out=tuple(sorted(without)),
        position=head.position,
        activity_number=head.activity_number,
        activity_hash=head.activity_hash.hex(),
    )
