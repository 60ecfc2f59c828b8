"""The report as Markdown, for a ticket; and its requests as CSV, for a spreadsheet.

Whatever a stranger sent stands in them as text: in Markdown nothing of it is markup or a link, in
CSV nothing of it is a formula (OWASP, CSV Injection).
"""

import csv
import io
import re

from keyturn.domain.instant import format_instant
from keyturn.domain.spreadsheet import safe_text
from keyturn.http.report_facts import Facts, Table
from keyturn.services.report import Report

_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~&])")
# A scheme or a `www.` makes a link of itself in many readers, and an `@` a mention.
_LINK = re.compile(r"(?i)(https?|ftp|mailto)(?=:)|(?<=www)(?=\.)|@")
_LONGEST_CELL = 300


def spell_markdown(facts: Facts) -> str:
    lines = [
        f"# {_text(facts.title)}",
        "",
        f"**State: {_text(facts.state)}.** Next: **{_text(facts.next_step)}**",
        "",
        f"- What happened: {_text(facts.happened)}",
        f"- Contained: {_text(facts.contained)}",
        f"- Left to do: {_text(facts.left)}",
        *(f"- {_text(name)}: {_text(value)}" for name, value in facts.figures),
        *(f"- Not known: {_text(one)}" for one in facts.gaps),
        f"- Cannot be told apart: {_text(facts.blind_spot)}",
        "",
    ]
    for table in (facts.strangers, *facts.tables):
        lines += _table(table)
    lines.append(_text(facts.ended))
    return "\n".join(lines) + "\n"


def _table(table: Table) -> list[str]:
    lines = [f"## {_text(table.title)}", "", _text(table.about), ""]
    if not table.rows:
        return [*lines, _text(table.empty), ""]
    lines += [_row(table.heads), _row(tuple("---" for _ in table.heads), is_text=False)]
    lines += [_row(one) for one in table.rows]
    if table.total > len(table.rows):
        lines += ["", f"{len(table.rows)} of {table.total:,}."]
    return [*lines, ""]


def _row(cells: tuple[str, ...], *, is_text: bool = True) -> str:
    return "| " + " | ".join(_text(one) if is_text else one for one in cells) + " |"


def _text(value: str) -> str:
    cut = value if len(value) <= _LONGEST_CELL else value[:_LONGEST_CELL] + "…"
    plain = _MARKUP.sub(r"\\\1", " ".join(cut.split()))
    # A character that joins words without being seen keeps readers from making links.
    return _LINK.sub(lambda match: f"{match.group()}\u2060", plain)


HEADS = (
    *("at", "request_id", "id", "key_id", "key", "valid", "code", "runtime", "declared"),
    *("standing", "network", "ip", "country", "user_agent", "method", "path", "scopes"),
    *("environment", "browser"),
)


def spell_csv(report: Report) -> str:
    """The requests of callers that are not ours, newest first."""
    names = {str(id_): name for id_, name in report.names.items()}
    standings = {
        (str(key_id), one.caller.runtime, one.caller.declared, one.caller.network): one.standing
        for one in report.radius.not_ours
        for key_id in one.key_ids
    }
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(HEADS)
    for one in report.requests:
        who = (one.key_id or "", one.runtime, one.declared, one.network)
        writer.writerow(
            [
                safe_cell(cell)
                for cell in (
                    format_instant(one.at),
                    one.request_id,
                    one.id,
                    one.key_id,
                    names.get(one.key_id or ""),
                    str(one.valid).lower(),
                    one.code,
                    one.runtime,
                    str(one.declared).lower(),
                    standings.get(who),
                    one.network,
                    one.ip,
                    one.country,
                    one.user_agent,
                    one.method,
                    one.path,
                    " ".join(one.scopes),
                    one.environment,
                    one.browser,
                )
            ]
        )
    return file.getvalue()


def safe_cell(value: str | None) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return safe_text(value or "")
