"""What a mail says of an event: a subject that tells it, and lines that anybody can read."""

from collections.abc import Iterator, Mapping

from keyturn.domain.text import without_controls

_LONGEST_LINE = 1_000
_LONGEST_SUBJECT = 120
_WIDEST = 16


def subject_line(event: Mapping[str, object]) -> str:
    """The subject of the mail that tells of an event, as its body has it."""
    data = _object(event.get("data"))
    finding = _object(data.get("finding"))
    if not finding:
        return f"[Keyturn] {_line(data.get('message'))}"[:_LONGEST_SUBJECT]
    state = "" if finding.get("state") == "open" else f" ({_line(finding.get('state'))})"
    told = f"{_line(finding.get('severity'))}: {_line(finding.get('kind'))}{state}"
    return f"[Keyturn] {told} on {_line(finding.get('slot'))}"[:_LONGEST_SUBJECT]


def letter_text(event: Mapping[str, object], channel: str) -> str:
    """The text of it. `channel` is the name of the channel that sends it."""
    data = _object(event.get("data"))
    finding = _object(data.get("finding"))
    evidence = _object(finding.get("evidence"))
    lines = [_line(data.get("message")), ""]
    next_step = evidence.get("next_step")
    if next_step is not None:
        lines += [_line(next_step), ""]
    facts: dict[str, object] = {
        "event": event.get("type"),
        "at": event.get("timestamp"),
        "by": data.get("actor_label"),
        _line(data.get("resource_type") or "about"): data.get("resource_id"),
        **{name: value for name, value in evidence.items() if name != "next_step"},
        **_object(None if finding else data.get("metadata")),
        "workspace": data.get("workspace_id"),
    }
    lines += _facts(facts)
    lines += ["", f"The channel {_line(channel)} of Keyturn sends this. Do not answer it."]
    return "\n".join(lines) + "\n"


def _facts(facts: Mapping[str, object]) -> Iterator[str]:
    for name, value in facts.items():
        if value is not None:
            yield f"{_line(name).replace('_', ' '):<{_WIDEST}}  {_spelled(value)}"


def _spelled(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case list():
            return _line(", ".join(_spelled(one) for one in value))
        case dict():
            return _line("; ".join(f"{name} {_spelled(one)}" for name, one in value.items()))
        case _:
            return _line(value)


def _line(value: object) -> str:
    return without_controls("" if value is None else str(value), _LONGEST_LINE)


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
