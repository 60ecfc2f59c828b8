"""How the story is told: on a terminal with live tables of the traffic and of the rotation,
elsewhere in plain lines, or not at all."""

import sys
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Protocol, Self

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from keyturn.client import Delivery, Incident, Rotation
from keyturn.client.rotation_records import RuntimeEvidence
from keyturn.demo.figures import Figures
from keyturn.demo.table import faults, lines
from keyturn.demo.tally import Tally

INDENT = 3
MOVED = "has moved to the new key"
PLAIN_WIDTH = 100


class Telling(Protocol):
    """Is told what happens."""

    def chapter(self, number: int, title: str) -> None: ...

    def say(self, sentence: str) -> None: ...

    def traffic(self, tallies: Mapping[str, Tally]) -> None: ...

    def rotation(self, rotation: Rotation) -> None: ...

    def incident(self, incident: Incident) -> None: ...


class Silence:
    """Tells nothing."""

    def chapter(self, number: int, title: str) -> None:
        pass

    def say(self, sentence: str) -> None:
        pass

    def traffic(self, tallies: Mapping[str, Tally]) -> None:
        pass

    def rotation(self, rotation: Rotation) -> None:
        pass

    def incident(self, incident: Incident) -> None:
        pass


class Told:
    """Tells it to a console, whatever its width. Use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        is_alive = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, auto_refresh=False, transient=True) if is_alive else None
        self._tallies: Mapping[str, Tally] = {}
        self._rotation: Rotation | None = None
        self._incident: Incident | None = None
        self._places: dict[str, str] = {}

    def chapter(self, number: int, title: str) -> None:
        self._rotation = None
        self._incident = None
        self._console.print()
        self._print(Text(f"{number}  {title}", style="bold"))

    def say(self, sentence: str) -> None:
        self._print(Text(sentence), INDENT)

    def traffic(self, tallies: Mapping[str, Tally]) -> None:
        """Shows the traffic as of now, where it can be shown in place."""
        self._tallies = tallies
        self._draw()

    def rotation(self, rotation: Rotation) -> None:
        """Shows who has moved, in place with the traffic; else says what has changed."""
        self._rotation = rotation
        for one in rotation.evidence:
            place = _place(rotation, one)
            if self._live is None and self._places.get(one.runtime) != place:
                self.say(f"{one.runtime:<9}  {place}")
            self._places[one.runtime] = place
        self._draw()

    def incident(self, incident: Incident) -> None:
        """Shows where the incident stands, in place with the traffic."""
        self._incident = incident
        self._draw()

    def _draw(self) -> None:
        if self._live is None:
            return
        blocks: list[Table | Text] = [_traffic(self._tallies)]
        if self._rotation is not None:
            blocks.append(_movement(self._rotation))
            blocks += [_arrival(self._rotation, one) for one in self._rotation.deliveries]
        if self._incident is not None:
            blocks.append(_standing(self._incident))
        shown = Group(*(Padding(block, (1, 0, 0, INDENT)) for block in blocks))
        self._live.update(shown, refresh=True)

    def _print(self, text: Text, indent: int = 0) -> None:
        if self._console.is_terminal:
            self._console.print(Padding(text, (0, 0, 0, indent)))
        else:  # a line is a line: nothing is cut or wrapped
            self._console.print(Text(" " * indent) + text, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()


def console() -> Console:
    """Standard output, with colour on a terminal only."""
    is_terminal = sys.stdout.isatty()
    return Console(
        width=None if is_terminal else PLAIN_WIDTH, highlight=False, markup=False, emoji=False
    )


def tell_end(console: Console, figures: Figures) -> None:
    """The table of figures, and a sentence for each that is wrong."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("Figure", overflow="fold")
    table.add_column("", overflow="fold")
    table.add_column("", no_wrap=True)
    for line in lines(figures):
        verdict = Text("")
        if line.must_hold:
            verdict = Text("WRONG", "bold red") if line.fault else Text("ok", "bold green")
        table.add_row(Text(line.title), Text(line.value), verdict)
    console.print(table)
    chapters = (f"{chapter.name} {chapter.seconds:.1f} s" for chapter in figures.chapters)
    console.print(Text(f"Time: {', '.join(chapters)}.", "dim"))
    wrong = faults(figures)
    for sentence in wrong:
        console.print(Text(f"WRONG: {sentence}", "bold red"))
    if not wrong:
        console.print(Text("Every figure is as it must be.", "bold green"))


def _traffic(tallies: Mapping[str, Tally]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("service", no_wrap=True, min_width=9)
    for title in ("served", "refused", "failed"):
        table.add_column(title, justify="right")
    for name, one in tallies.items():
        table.add_row(
            Text(name),
            Text(f"{one.served:,}"),
            *_marked((one.refused, "yellow"), (one.failed, "red")),
        )
    return table


def _movement(rotation: Rotation) -> Table:
    """The services on their way from the old key to the new one."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("rotation", no_wrap=True, min_width=9)
    table.add_column("old key", justify="right")
    table.add_column("new key", justify="right")
    table.add_column(rotation.state, overflow="fold")
    for one in rotation.evidence:
        place = _place(rotation, one)
        table.add_row(
            Text(one.runtime),
            Text(f"{one.old_allowed:,}"),
            Text(f"{one.new_allowed:,}"),
            Text(place, "green" if place == MOVED else "yellow"),
        )
    return table


def _standing(incident: Incident) -> Table:
    """Who of the callers is at work again, and what is to be done."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("incident", no_wrap=True, min_width=9)
    table.add_column("is")
    table.add_column(incident.state, overflow="fold")
    for key in incident.keys:
        for one in key.runtimes:
            is_well = one.recovered or one.standing != "ours"
            place = "at work with the new key" if one.recovered else incident.next_step
            table.add_row(
                Text(one.runtime),
                Text(one.standing),
                Text(place if one.standing == "ours" else "", "green" if is_well else "yellow"),
            )
    return table


def _arrival(rotation: Rotation, delivery: Delivery) -> Text:
    """Where the new token is on its way."""
    told = f"{delivery.destination}  {delivery.state}"
    if delivery.delivered_at is None:
        return Text(told, "yellow")
    seconds = (delivery.delivered_at - rotation.started_at).total_seconds()
    return Text(f"{told} {seconds:.2f} s after the start", "green")


def _place(rotation: Rotation, one: RuntimeEvidence) -> str:
    """Where a service is on its way."""
    if not any(blocker.runtime == one.runtime for blocker in rotation.blocked_by):
        return MOVED
    if one.new_allowed:
        return f"on the new key; the old one must rest for {rotation.quiet_seconds} s"
    return "on the old key: it is waited for"


def _marked(*counts: tuple[int, str]) -> Iterable[Text]:
    return (Text(f"{count:,}", colour if count else "") for count, colour in counts)
