"""Where a run may have left a token: everything that it wrote, and where others write for it."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.canary.allowed import OUTPUT
from tests.canary.hook import ANSWERS

REPORTS = "reports"
BASES = "bases"
_NOT_WRITTEN_BY_TESTS = {".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache"}
_PRODUCT_AT_HOME = (".config/keyturn", ".local/share/keyturn", ".cache/keyturn", ".keyturn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of the tests, as far as it leaves traces."""

    folder: Path  # the register, what is kept of answers, pipes and reports
    postgres: Path  # data, write-ahead log, server log, files of databases that were dropped
    project: Path
    home: Path
    temporary: tuple[Path, ...]  # where files are made, and where programs make them unasked
    began: float  # when, by the clock of files


def sinks_of(run: Run) -> list[Path]:
    """Every file to look into, each once."""
    groups = (
        _files(run.folder / ANSWERS),
        _files(run.folder / OUTPUT),
        _files(run.folder / REPORTS),
        *(_files(base) for base in _bases(run)),
        *(_files(run.postgres / name) for name in ("data", "log", "kept")),
        _changed(_files(run.project, _NOT_WRITTEN_BY_TESTS), run.began),
        _changed(_top(run.home), run.began),
        *(_files(run.home / name) for name in _PRODUCT_AT_HOME),
        *(_changed(_top(folder), run.began) for folder in run.temporary),
    )
    found: dict[tuple[int, int], Path] = {}
    for group in groups:
        for path in group:
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_size:
                found.setdefault((status.st_dev, status.st_ino), path)
    return list(found.values())


def _bases(run: Run) -> list[Path]:
    """The folders that pytest gave to tests, in each of its processes."""
    listed = run.folder / BASES
    return (
        sorted({Path(line) for line in listed.read_text().splitlines()}) if listed.exists() else []
    )


def _files(path: Path, without: Iterable[str] = ()) -> Iterator[Path]:
    if path.is_file():
        yield path
    for folder, inner, names in os.walk(path):
        inner[:] = [name for name in inner if name not in without]
        yield from (Path(folder, name) for name in names)


def _top(folder: Path) -> Iterator[Path]:
    """The files in the folder itself: histories of shells, dumps of memory, drafts."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False) and os.access(entry.path, os.R_OK):
                yield Path(entry.path)


def _changed(paths: Iterable[Path], began: float) -> Iterator[Path]:
    for path in paths:
        try:
            if path.lstat().st_mtime >= began:
                yield path
        except FileNotFoundError:
            continue  # another program's, gone meanwhile
