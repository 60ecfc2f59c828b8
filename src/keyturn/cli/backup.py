"""`keyturn backup` and `keyturn restore`."""

import signal
import sys
from pathlib import Path

import click

from keyturn.cli.loading import settings_for
from keyturn.cli.output import Output, counted, harmless
from keyturn.domain.instant import format_instant
from keyturn.server.backup import Checked, PutBack, back_up, check, put_back, told_loss
from keyturn.services.restore import Choice, LossKind, Weighed
from keyturn.storage.archive import Manifest, Summary

MOST_SHOWN = 10
_NAMED = ("workspace", "operator", "slot", "key", "request")

_quiet = click.option("--quiet", is_flag=True, help="No progress, which only a terminal shows.")
_json = click.option("--json", "as_json", is_flag=True, help="For programs.")
_file = click.argument("file", type=click.Path(path_type=Path))


@click.command()
@_file
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.option("--without-requests", is_flag=True, help="Leave the log of requests out.")
@_json
@_quiet
def backup(file: Path, force: bool, without_requests: bool, as_json: bool, quiet: bool) -> None:
    """Write everything but the root secret to FILE (0600), as it is at one moment.

    May run beside a server. `keyturn restore` takes it on SQLite and on PostgreSQL, whichever it
    was made on. No token is in it; keep a copy of the root secret apart from it.

    \b
    Examples:
      keyturn backup keyturn.backup
      keyturn backup --without-requests "/backups/keyturn-$(date +%F).backup"
    """
    settings = settings_for("production")
    bar = _Bar(quiet)
    made = back_up(
        settings, file, replaces=force, with_requests=not without_requests, progress=bar.progress
    )
    bar.clear()
    if made.too_large:
        click.echo(
            f"keyturn: {counted(made.too_large, 'row')} larger than any of ours, and not in it.",
            err=True,
        )
    _tell_faults(made.summary)
    if as_json:
        _json_out(_members(file, made.manifest, made.summary))
        return
    click.echo(
        f"{file}: {file.stat().st_size:,} bytes\n"
        f"{_told(made.manifest, made.summary)}\n"
        f"The root secret is not in it (fingerprint {made.manifest.root_fingerprint}): keep a copy "
        f"of {settings.root_secret_file} apart from it."
    )


@click.command()
@_file
@click.option("--check", "only_checks", is_flag=True, help="Look at FILE, and change nothing.")
@click.option(
    "--suspend-keys",
    is_flag=True,
    help="Restore even if the log went on after the backup, with every active key suspended and "
    "every operator and gateway credential revoked.",
)
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Restore as it is even if the log went on after the backup: what was revoked since works "
    "again.",
)
@click.option(
    "--heads",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A copy of the signed heads from elsewhere, beside activity.heads in the data folder.",
)
@_json
@_quiet
def restore(
    file: Path,
    only_checks: bool,
    suspend_keys: bool,
    accept_loss: bool,
    heads: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Restore FILE into a database that has no installation: all of it or nothing.

    It needs the root secret that the backup was made under, and no server on the database. It is
    refused where the signed heads say that the log went on after the backup, unless you choose
    what is to become of the keys.

    \b
    Examples:
      keyturn restore --check keyturn.backup
      KEYTURN_DATABASE_URL=postgresql://keyturn@db/keyturn keyturn restore keyturn.backup
    """
    if suspend_keys and accept_loss:
        raise click.UsageError("Choose one: --suspend-keys or --accept-loss.")
    if only_checks and (suspend_keys or accept_loss):
        raise click.UsageError("--check changes nothing; leave the choice away.")
    settings = settings_for("production")
    bar = _Bar(quiet)
    if only_checks:
        checked = check(settings, file, heads, bar.progress)
        bar.clear()
        if checked.is_genuine is not None:
            _tell_faults(checked.weighed.summary)
        if as_json:
            _json_out(_members_checked(file, checked))
            return
        _tell_checked(checked, heads or settings.heads_file)
        return
    choice = Choice.NONE
    if suspend_keys or accept_loss:
        choice = Choice.SUSPEND if suspend_keys else Choice.ACCEPT
    done = put_back(
        settings,
        file,
        heads=heads,
        choice=choice,
        progress=bar.progress,
    )
    bar.clear()
    if as_json:
        if not done.restored.was_done_before:
            _tell_faults(done.weighed.summary)
        _json_out(_members_restored(file, done))
    else:
        _tell_restored(done, choice is not Choice.NONE)
    if done.heads_fault is not None:
        click.echo(
            f"keyturn: The database is restored, but {done.heads_fault}.\n"
            "  Mend that, and repeat the same command before you start it.",
            err=True,
        )
        click.get_current_context().exit(1)


def _tell_checked(checked: Checked, heads: Path) -> None:
    weighed = checked.weighed
    click.echo(f"Whole: {_told(weighed.manifest, weighed.summary)}")
    if checked.is_genuine is None:
        click.echo(
            "Whether somebody edited it cannot be told without its root secret (fingerprint "
            f"{harmless(weighed.manifest.root_fingerprint)})."
        )
    else:
        click.echo(told_loss(weighed, heads))


def _tell_restored(done: PutBack, is_chosen: bool) -> None:
    restored = done.restored
    carried = restored.carried
    lines = []
    if restored.was_done_before:
        lines.append("This backup was restored already, and nothing was done since.")
    else:
        _tell_faults(done.weighed.summary)
        lines.append(f"Restored: {_told(done.weighed.manifest, done.weighed.summary)}")
    if carried.mended:
        lines.append(
            f"{counted(carried.mended, 'row')} with cells that are none of ours, mended to be "
            "kept, and damaged as before."
        )
    if carried.left_out:
        lines.append(f"{counted(carried.left_out, 'row')} that no table takes, left out:")
        lines += [f"  {name}" for name in carried.named[:MOST_SHOWN]]
    if done.weighed.loss.kind is not LossKind.NONE and is_chosen and not restored.was_done_before:
        lines.append(_told_choice(done.weighed))
    if restored.suspended_keys or restored.revoked_operators:
        lines.append(
            f"Suspended keys: {restored.suspended_keys:,}; revoked operators and gateway "
            f"credentials: {restored.revoked_operators:,}. Make an operator with `keyturn "
            "operators create`, look at each key (`keyturn keys list --status suspended`), and "
            "resume those that may work (`keyturn keys resume`)."
        )
    if restored.destinations_to_prove:
        lines.append(
            f"{counted(restored.destinations_to_prove, 'destination')} to be proven again before "
            "anything is delivered there: see that nothing newer is there (`keyturn destinations "
            "list`), then `keyturn destinations prove NAME`."
        )
    if done.heads_kept_as is not None:
        lines.append(f"The signed heads of the log that was given up are in {done.heads_kept_as}.")
    if done.heads_fault is None:
        lines.append(
            f"The log ends at entry {restored.head.activity_number}. Start it with `keyturn serve`."
        )
    click.echo("\n".join(map(harmless, lines)))


def _json_out(members: dict[str, object]) -> None:
    Output(as_json=True, is_quiet=False).json(members)


def _members(file: Path, manifest: Manifest, summary: Summary) -> dict[str, object]:
    """The members that every one has; what does not apply is null."""
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "counts": summary.counts,
        "left_out": list(manifest.left_out),
        "position": manifest.position,
        "activity_number": manifest.activity_number,
        "made_at": format_instant(manifest.made_at),
        "root_fingerprint": manifest.root_fingerprint,
        "faults": summary.faults,
        "genuine": True,
        "loss": None,
        "lost_entries": None,
        "suspended_keys": None,
        "revoked_operators": None,
        "destinations_to_prove": None,
        "heads_kept_as": None,
        "restored_before": None,
    }


def _members_weighed(file: Path, weighed: Weighed) -> dict[str, object]:
    return _members(file, weighed.manifest, weighed.summary) | {
        "loss": weighed.loss.kind.value,
        "lost_entries": weighed.loss.entries,
    }


def _members_checked(file: Path, checked: Checked) -> dict[str, object]:
    if checked.is_genuine is None:
        weighed = checked.weighed
        return _members(file, weighed.manifest, weighed.summary) | {"genuine": None}
    return _members_weighed(file, checked.weighed)


def _members_restored(file: Path, done: PutBack) -> dict[str, object]:
    restored = done.restored
    return _members_weighed(file, done.weighed) | {
        "suspended_keys": restored.suspended_keys,
        "revoked_operators": restored.revoked_operators,
        "destinations_to_prove": restored.destinations_to_prove,
        "heads_kept_as": None if done.heads_kept_as is None else str(done.heads_kept_as),
        "restored_before": restored.was_done_before,
    }


def _told_choice(weighed: Weighed) -> str:
    loss = weighed.loss
    if loss.kind is LossKind.UNKNOWN:
        return "Whether anything was lost cannot be told from the signed heads."
    most = "At most " if loss.kind is LossKind.OTHER else ""
    return f"{most}{counted(loss.entries, 'entry', 'entries')} of the log lost, as you chose."


def _told(manifest: Manifest, summary: Summary) -> str:
    kept = ", ".join(counted(summary.counts.get(f"{name}s", 0), name) for name in _NAMED)
    without = f"; without {harmless(', '.join(manifest.left_out))}" if manifest.left_out else ""
    return (
        f"{kept}{without}; as of {format_instant(manifest.made_at)[:19]}Z, entry "
        f"{manifest.activity_number} of the log, position {manifest.position}."
    )


def _tell_faults(summary: Summary) -> None:
    if not summary.faults:
        return
    click.echo(
        f"keyturn: {counted(summary.faults, 'fault')} in the database when it was backed up. What "
        "is damaged is kept as it is, and stays denied.",
        err=True,
    )
    for fault in summary.first_faults[:MOST_SHOWN]:
        click.echo(harmless(f"  {fault}"), err=True)
    if summary.faults > MOST_SHOWN:
        click.echo("  `keyturn activity verify` names all of them.", err=True)


class _Bar:
    """One line on a terminal that says how far it has come; elsewhere, none. A signal ends the
    command at its next step, so that nothing is broken off half-way."""

    def __init__(self, quiet: bool) -> None:
        self._is_shown = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._width = 0
        self._is_over = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def progress(self, what: str, done: int, total: int) -> None:
        if self._is_over:
            self.clear()
            raise click.Abort
        if self._is_shown:
            text = f"{what}: {done:,}" + (f" of {total:,}" if total else "")
            click.echo("\r" + text.ljust(self._width), nl=False, err=True)
            self._width = len(text)

    def clear(self) -> None:
        if self._width:
            click.echo("\r" + " " * self._width + "\r", nl=False, err=True)
        self._width = 0

    def _stop(self, number: int, _: object) -> None:
        self._is_over = True
        signal.signal(number, signal.default_int_handler)  # the second one at once
