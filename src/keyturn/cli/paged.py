"""Lists on the command line: so many at most, and a word where there are more."""

import functools
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeVar

import click

from keyturn.cli.output import Column, Output
from keyturn.client import Pages

T = TypeVar("T")

_LARGEST_PAGE = 1_000


class Portion:
    """How much of a list is wanted: `most` items, None for all."""

    def __init__(self, most: int | None) -> None:
        self.most = most

    @property
    def page_size(self) -> int:
        """The size of a page to ask for: one more than wanted, to know whether there are more."""
        return _LARGEST_PAGE if self.most is None else min(self.most + 1, _LARGEST_PAGE)

    def show(
        self,
        output: Output,
        pages: Pages[T],
        columns: Sequence[Column],
        row: Callable[[T], Sequence[object]],
        identify: Callable[[T], str],
    ) -> None:
        """Shows the items as the output wants them."""
        most = None if self.most is None else self.most + 1
        found = list(output.counting(islice(pages, most)))
        items = found if self.most is None else found[: self.most]
        if output.as_json:
            output.json(items)
        elif output.is_quiet:
            for item in items:
                output.say(identify(item))
        else:
            output.table(columns, [row(item) for item in items])
        if len(found) > len(items):
            output.note(
                f"{len(items):,} are shown, and there are more: --limit {len(items) * 10}, "
                "or --all."
            )


def paged(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command `--limit` and `--all`, as one `Portion`."""

    @click.option("--limit", type=click.IntRange(1), default=100, show_default=True, metavar="N")
    @click.option("--all", "takes_all", is_flag=True, help="All of them, however many.")
    @functools.wraps(command)
    def call(*args: object, limit: int, takes_all: bool, **kwargs: object) -> None:
        kwargs["portion"] = Portion(None if takes_all else limit)
        command(*args, **kwargs)

    return call
