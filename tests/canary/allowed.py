"""The few places where a secret may stand, each with its reason. Everything else is a leak.

Each is told by what the command that drew the secret was asked for, not by a pattern of names: a
token's file is allowed for the token that was written to it by whoever was told to, no other file
is, and no other token in it. A token that a server made may stand where the command said that asked
the server for it.
"""

import json
from collections.abc import Callable
from pathlib import Path

from tests.canary.hook import ANSWERS
from tests.canary.needles import plain_form
from tests.canary.registry import Canary
from tests.canary.sweep import Place

OUTPUT = "output"  # the folder of what programs wrote into pipes, by their process ids
OPERATOR_TOKEN = "operator.token"
ROOT_MEMBERS = {"about", "format", "root", "peppers"}
LARGEST_ROOT_FILE_BYTES = 64 << 10
_MEMBER = plain_form(b'"api_key": "')
_SIGNING = plain_form(b"whsec_")
_SIGNING_MEMBER = plain_form(b'"secret": "whsec_')


def reason_for(place: Place) -> str | None:
    """Why it may stand there; None for a leak."""
    for reason, holds in REASONS.items():
        if holds(place):
            return reason
    return None


def _is_whole(place: Place) -> bool:
    """Whether the piece belongs to the whole token, spelled as it is."""
    token, hint = place.canary.token, place.canary.hint
    if token is None or hint is None or place.encoding != "plain" or place.block.is_unpacked:
        return False
    first = place.start - len(_form(hint))
    return first >= 0 and place.form.startswith(_form(token), first)


def _form(text: str) -> bytes:
    return plain_form(text.encode())


def _before(place: Place) -> bytes:
    return place.form[: place.start - len(place.canary.hint or "")]


def _of_any_teller(holds: Callable[[Place, Canary], bool]) -> Callable[[Place], bool]:
    """Whether it holds for the command that made the token, or for one that handed it over."""
    return lambda place: any(
        holds(place, teller) for teller in (place.canary, *place.canary.handed_by)
    )


def _told_file(place: Place, teller: Canary) -> bool:
    if not _is_whole(place) or _content(place.sink) != place.canary.token:
        return False
    folder = _option(teller, "--output-dir")
    if folder is not None:
        name = f"-{(place.canary.hint or '').rpartition('_')[2]}.token"
        return _is_same(place.sink.parent, teller.folder / folder) and place.sink.name.endswith(
            name
        )
    told = _option(teller)
    if told is not None:
        return told != "-" and _is_same(place.sink, teller.folder / told)
    return place.sink.name == OPERATOR_TOKEN and teller.asked[:1] in (("init",), ("dev",))


def _torn_draft(place: Place, teller: Canary) -> bool:
    name = _option(teller) or OPERATOR_TOKEN
    folder, name = place.sink.parent, Path(name).name
    return (
        _is_whole(place)
        and place.sink.name in (f".{name}.draft", f".{name}.{teller.pid}.draft")
        and place.sink.stat().st_mode & 0o777 == 0o600
        and not (folder / name).exists()
    )


def _torn_delivery(place: Place, teller: Canary) -> bool:
    """Where the file has the old token still; the next delivery removes the draft."""
    if teller.asked[:1] != ("--output",) or not _is_whole(place):
        return False
    file = Path(teller.asked[1])
    is_draft = _is_same(place.sink, file.with_name(f".{file.name}.draft"))
    return is_draft and _content(place.sink) == place.canary.token


def _told_output(place: Place, teller: Canary) -> bool:
    is_told = _option(teller) == "-" or teller.asked[:2] == ("operators", "create")
    is_own = place.sink == teller.output or (
        place.sink.parent.name == OUTPUT and place.sink.name.startswith(f"{teller.pid}-")
    )
    return _is_whole(place) and is_told and is_own


def _answer(place: Place) -> bool:
    return (
        _is_whole(place)
        and place.sink.parent.name == ANSWERS
        and place.sink.name == str(place.canary.pid)
        and _before(place).endswith(_MEMBER)
    )


def _shown_by_readme(place: Place) -> bool:
    return (
        _is_whole(place)
        and place.sink.parent.name == OUTPUT
        and place.sink.name.endswith("-sh")
        and _before(place).endswith(_MEMBER)
    )


def _is_signing(place: Place) -> bool:
    """Whether it is a signing secret as its receiver needs it."""
    return (
        place.canary.hint is None
        and place.encoding == "bytes, base64+0"
        and not place.block.is_unpacked
        and place.form[: place.start].endswith(_SIGNING)
    )


def _signing_answer(place: Place) -> bool:
    return (
        _is_signing(place)
        and place.sink.parent.name == ANSWERS
        and place.sink.name == str(place.canary.pid)
        and place.form[: place.start].endswith(_SIGNING_MEMBER)
    )


def _signing_told(place: Place, teller: Canary) -> bool:
    told = _option(teller)
    if told is None or not _is_signing(place) or teller.asked[:1] != ("channels",):
        return False
    if told == "-":
        return place.sink == teller.output or (
            place.sink.parent.name == OUTPUT and place.sink.name.startswith(f"{teller.pid}-")
        )
    draft = f".{Path(told).name}.draft"
    is_own = _is_same(place.sink, teller.folder / told) or place.sink.name == draft
    return is_own and (_content(place.sink) or "").startswith("whsec_")


def _own_root(place: Place) -> bool:
    return (
        place.canary.hint is None
        and place.encoding == "bytes, base64+0"
        and _is_root_file(place.sink)
    )


def _is_root_file(path: Path) -> bool:
    """A file of this content and nothing else. A setting may name it anything, and the draft that a
    kill left is one."""
    if path.stat().st_size > LARGEST_ROOT_FILE_BYTES:
        return False
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return False
    return isinstance(content, dict) and set(content) == ROOT_MEMBERS


ANSWER = "the one answer that hands it out"
REASONS: dict[str, Callable[[Place], bool]] = {
    "the file that its command was told to write, or the first operator's": _of_any_teller(
        _told_file
    ),
    "a draft of that file, whose writer was killed before it had its name": _of_any_teller(
        _torn_draft
    ),
    "standard output of the command that was told to print it": _of_any_teller(_told_output),
    ANSWER: _answer,
    "the README's reader is shown the answer to his call": _shown_by_readme,
    "a draft of the file that it was to be delivered into": _of_any_teller(_torn_delivery),
    "the root secret's own file": _own_root,
    "the one answer that hands a signing secret out": _signing_answer,
    "the file, or the output, that a signing secret's command was told of": _of_any_teller(
        _signing_told
    ),
}


def _option(canary: Canary, *names: str) -> str | None:
    """What the command was told by `--output`, or by the option of these names."""
    for number, word in enumerate(canary.asked):
        if word in (names or ("-o", "--output")):
            return canary.asked[number + 1]
        if word.startswith("--output=") and not names:
            return word.partition("=")[2]
    return None


def _content(path: Path) -> str | None:
    if path.stat().st_mode & 0o077 or path.stat().st_size > 256:
        return None
    return path.read_text("latin-1").strip()


def _is_same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
