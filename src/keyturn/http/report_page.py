"""The report as one page: nothing is loaded, nothing runs, and it prints.

Whatever a stranger sent is escaped, the characters that quote attributes too, and stands in the
text of elements alone, never in an attribute, a style or an address.
"""

import base64
import hashlib
from html import escape

from keyturn.http.report_facts import Facts, Row, Table

STYLE = """
:root{--ink:#16191d;--soft:#5b6470;--line:#d9dee4;--bad:#b3261e;--warn:#8a5a00;--good:#1b6e3c;
--claim:#1f4e8c;--paper:#fff;--tint:#f5f7f9}
*{box-sizing:border-box}
body{margin:0;background:var(--tint);color:var(--ink);
font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:20px 24px 48px}
h1{font-size:24px;margin:0;overflow-wrap:anywhere}
h2{font-size:17px;margin:0 0 2px}
header{display:flex;gap:14px;align-items:center;justify-content:space-between;margin-bottom:12px}
.state{border:1px solid var(--ink);border-radius:99px;padding:2px 14px;white-space:nowrap}
.next{background:var(--ink);color:#fff;border-radius:8px;padding:12px 16px;margin-bottom:12px}
.next b{display:block;font-size:18px;overflow-wrap:anywhere}
.next span{font-size:12px;letter-spacing:.06em;text-transform:uppercase;opacity:.75}
.three{display:grid;grid-template-columns:repeat(3,1fr);gap:12px;margin-bottom:12px}
.card,section{background:var(--paper);border:1px solid var(--line);border-radius:8px;
padding:12px 16px}
section{margin-top:12px}
.card span,dt{font-size:12px;letter-spacing:.06em;text-transform:uppercase;color:var(--soft)}
.card p{margin:2px 0 0;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:repeat(4,1fr);gap:12px;margin:0 0 12px}
dl div{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:8px 16px}
dd{margin:0;font-size:22px;font-variant-numeric:tabular-nums}
.about{margin:0 0 8px;color:var(--soft);font-size:13px}
.gaps{border-left:4px solid var(--warn)}
.gaps p{margin:4px 0}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13px}
th{text-align:left;font-weight:600;color:var(--soft);border-bottom:1px solid var(--line);
padding:4px 10px 4px 0;white-space:nowrap}
td{border-bottom:1px solid var(--line);padding:5px 10px 5px 0;vertical-align:top;
overflow-wrap:anywhere}
td:not([class]){min-width:8em}
tr:last-child td{border-bottom:0}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
th.n{text-align:right}
td.w,td.a{white-space:nowrap}
td.t{white-space:nowrap;color:var(--soft);font-variant-numeric:tabular-nums}
.intruder{color:var(--bad);font-weight:700}.suspect{color:var(--warn);font-weight:600}
.claimed{color:var(--claim);font-weight:600}.ours{color:var(--good)}
footer{color:var(--soft);font-size:12px;margin-top:16px}
@media (max-width:760px){.three{grid-template-columns:1fr}dl{grid-template-columns:1fr 1fr}}
@media print{body{background:#fff;font-size:11px}main{max-width:none;padding:0}
.next{background:#fff;color:#000;border:2px solid #000}section,.card,dl div{break-inside:avoid}
section{break-inside:auto}tr{break-inside:avoid}
td.a{white-space:normal}td:not([class]){min-width:0}}
"""
_NUMBERS = frozenset({"allowed", "denied", "after", "requests"})
_WORDS = frozenset({"what", "verdict", "status", "slot"})
_TIMES = frozenset({"at", "first", "last"})
_STANDINGS = frozenset({"intruder", "suspect", "claimed", "ours"})
_LONGEST_CELL = 600
# An address in one piece; the name of a network may be longer.
_LONGEST_ADDRESS = 45

_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# Nothing but the page's own style, whatever might have come past the escaping.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


def spell_page(facts: Facts) -> str:
    cards = (
        ("What happened", facts.happened),
        ("Contained", facts.contained),
        ("Left to do", facts.left),
    )
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{_text(facts.title)}</title><style>{STYLE}</style></head><body><main>",
            f'<header><h1>{_text(facts.title)}</h1><div class="state">{_text(facts.state)}</div>',
            f'</header><div class="next"><span>Next step</span><b>{_text(facts.next_step)}</b>',
            '</div><div class="three">',
            *(
                f'<div class="card"><span>{_text(name)}</span><p>{_text(told)}</p></div>'
                for name, told in cards
            ),
            "</div><dl>",
            *(
                f"<div><dt>{_text(name)}</dt><dd>{_text(figure)}</dd></div>"
                for name, figure in facts.figures
            ),
            "</dl>",
            _table(facts.strangers),
            _doubts(facts),
            *(_table(one) for one in facts.tables),
            f"<footer>{_text(facts.ended)}</footer></main></body></html>\n",
        )
    )


def _doubts(facts: Facts) -> str:
    told = "".join(f"<p>{_text(one)}</p>" for one in (*facts.gaps, facts.blind_spot))
    return f'<section class="gaps"><h2>What is not known</h2>{told}</section>'


def _table(table: Table) -> str:
    head = f"<section><h2>{_text(table.title)}</h2>"
    if not table.rows:
        return f'{head}<p class="about">{_text(table.empty)}</p></section>'
    about = table.about
    if table.total > len(table.rows):
        about = f"{about} {len(table.rows)} of {table.total:,} are shown."
    rows = "".join(_row(table.heads, one) for one in table.rows)
    heads = "".join(f"<th{_kind(name, '')}>{_text(name)}</th>" for name in table.heads)
    return (
        f'{head}<p class="about">{_text(about)}</p><div class="wide"><table><thead><tr>{heads}'
        f"</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _row(heads: Row, cells: Row) -> str:
    told = "".join(
        f"<td{_kind(head, cell)}>{_text(cell)}</td>"
        for head, cell in zip(heads, cells, strict=True)
    )
    return f"<tr>{told}</tr>"


def _kind(head: str, cell: str) -> str:
    """The class of a cell: one of ours, by its column, never a word from outside."""
    if head in _WORDS:
        return ' class="w"'
    if head == "where" and len(cell) <= _LONGEST_ADDRESS:
        return ' class="a"'
    if head in _NUMBERS:
        return ' class="n"'
    if head in _TIMES and cell:
        return ' class="t"'
    if head == "standing" and cell in _STANDINGS:
        return f' class="{cell}"'
    return ""


def _text(value: str) -> str:
    return escape(value if len(value) <= _LONGEST_CELL else value[:_LONGEST_CELL] + "…")
