"""Section 9: the report on an incident is what was done with its keys, no more and no less."""

import csv
import io
import random
import re
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import pytest

from keyturn.domain.base62 import encode_uuid
from tests.acceptance.api import Issued, Site, Workspace, expect, expect_invalid, label
from tests.acceptance.responding import Responding, respond
from tests.acceptance.servers import until

Json = Any


def report(incident: Responding, **asked: str) -> Json:
    return expect(incident.home.admin.get(f"{incident.path}/report", **asked), 200)


def text(incident: Responding, kind: str) -> str:
    response = incident.home.admin.get(f"{incident.path}/report", format=kind)
    assert response.status_code == 200
    return response.text


@dataclass(frozen=True)
class Who:
    """A caller in a schedule."""

    runtime: str | None
    ip: str
    agent: str

    @property
    def name(self) -> str:
        return self.runtime or f"ua:{self.agent.partition('/')[0]}"

    def call(self, home: Workspace, key: Issued, path: str) -> str:
        name = label("request")
        home.verify(
            key.token,
            request_id=name,
            ip=self.ip,
            user_agent=self.agent,
            runtime=self.runtime,
            method="GET",
            path=path,
            scopes=["read"],
        )
        return name


OURS = Who("worker", "10.1.0.7", "python-httpx/0.28")
THIEF = Who(None, "198.51.100.23", "curl/8.9")


def leaked(home: Workspace, *, runtimes: bool = True) -> Issued:
    names = [{"name": "worker", "max_call_interval_seconds": 60}] if runtimes else []
    return home.admin.create(
        name=f"{label('worker')}-prod", scopes=["read", "write"], runtimes=names
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_thiefs_requests_are_exactly_those_that_were_sent(home: Workspace, seed: int) -> None:
    """Whatever the order of the calls, who made them and how the windows lie."""
    chance = random.Random(seed)
    callers = [OURS, THIEF] + [
        Who(
            chance.choice([None, "nightly", "worker"]),
            chance.choice(["10.1.0.7", "203.0.113.5", "2001:db8::9", "198.51.100.24"]),
            chance.choice(["curl/8.9", "python-httpx/0.28", "Go-http-client/2.0"]),
        )
        for _ in range(chance.randrange(4))
    ]
    keys = [leaked(home) for _ in range(chance.choice([1, 1, 3]))]
    sent: dict[str, tuple[Issued, Who, str]] = {}
    since: str | None = None

    def play(calls: int) -> None:
        for _ in range(calls):
            key, who = chance.choice(keys), chance.choice(callers)
            sent[who.call(home, key, f"/pins/{chance.randrange(5)}")] = (key, who, since or "")

    play(chance.randrange(1, 8))
    before = set(sent)
    if chance.random() < 0.5:
        since = datetime.now(UTC).isoformat()
        time.sleep(0.002)
        play(chance.randrange(10, 25))
    else:
        before = set()
        play(chance.randrange(10, 25))
    in_window = set(sent) - before
    incident = respond(home, *keys, exposed_since=since)
    play(chance.randrange(10))
    after = set(sent) - before - in_window

    body = report(incident)
    counted = in_window | after
    mine = {name for name in counted if sent[name][1].name != "worker"}
    assert {one["request_id"] for one in body["requests"]} == mine
    assert (body["requests_total"], len(body["requests"])) == (len(mine), len(mine))
    assert [one["at"] for one in body["requests"]] == sorted(
        (one["at"] for one in body["requests"]), reverse=True
    )
    assert body["totals"] == {
        "allowed": len(in_window),
        "denied": len(after),
        "after_containment": len(after),
    }
    wanted = Counter((sent[name][1].name, sent[name][1].ip) for name in counted)
    assert {
        (one["runtime"], one["network"]): one["allowed"] + one["denied"] for one in body["runtimes"]
    } == wanted
    tried = Counter((sent[name][1].name, sent[name][1].ip) for name in after)
    assert {
        (one["runtime"], one["network"]): one["denied"] for one in body["attempts_after"]
    } == tried
    paths = sum(one["allowed"] + one["denied"] for one in body["paths"])
    assert paths == len(counted)
    rows = list(csv.DictReader(io.StringIO(text(incident, "csv"))))
    assert {row["request_id"] for row in rows} == mine
    # And it stays so once everything is known for good.
    assert until(lambda: incident.now()["counted_at"] is not None, 20)
    again = report(incident)
    assert (again["complete"], again["gaps"]) == (True, [])
    assert again["totals"] == body["totals"]


def test_what_is_unlike_the_life_before_is_told_with_its_reason(home: Workspace) -> None:
    key = leaked(home)
    for _ in range(3):
        OURS.call(home, key, "/pins")
    THIEF.call(home, key, "/admin")
    Who("worker", "198.51.100.99", "python-httpx/0.28").call(home, key, "/pins")
    body = report(respond(home, key))
    assert body["compared_keys"] == 1
    odd = {(one["what"], one["value"]) for one in body["unlike"]}
    assert odd == {
        ("runtime", "ua:curl"),
        ("network", "198.51.100.23"),
        ("network", "198.51.100.99"),
        ("path", "GET /admin"),
        ("agent", "curl/8.9"),
    }
    assert all(one["reason"].endswith(".") and one["requests"] == 1 for one in body["unlike"])
    standing = {(one["runtime"], one["network"]): one["standing"] for one in body["runtimes"]}
    assert standing == {
        ("worker", "10.1.0.7"): "ours",
        ("worker", "198.51.100.99"): "ours",
        ("ua:curl", "198.51.100.23"): "suspect",
    }
    [stranger] = [one for one in body["runtimes"] if one["network"] == "198.51.100.99"]
    assert stranger["unlike"] == ["network"]
    # The one of ours who was never there is told; those who were hide nobody else's share.
    same = body["indistinguishable"]
    assert [(one["network"], one["requests"]) for one in same["callers"]] == [("10.1.0.7", 3)]


def test_a_thief_with_our_address_and_our_name_cannot_be_told_apart(home: Workspace) -> None:
    key = leaked(home, runtimes=False)
    ours = Who(None, "203.0.113.80", "python-httpx/0.28")
    for _ in range(4):
        ours.call(home, key, "/pins")
    since = datetime.now(UTC).isoformat()
    time.sleep(0.002)
    for _ in range(5):  # two of ours, three of the thief's: nothing tells which
        ours.call(home, key, "/pins")
    THIEF.call(home, key, "/pins")
    body = report(respond(home, key, exposed_since=since))
    same = body["indistinguishable"]
    assert same["requests"] == 5
    assert "ua:python-httpx" in same["detail"]
    assert "thief" in same["detail"]
    assert [one["network"] for one in same["callers"]] == ["203.0.113.80"]
    assert body["totals"]["allowed"] == 6


def test_a_persons_word_moves_a_caller(home: Workspace) -> None:
    key = leaked(home)
    nightly = Who("nightly", "10.2.0.1", "batch/1")
    names = {who: who.call(home, key, "/pins") for who in (OURS, THIEF, nightly)}
    incident = respond(home, key)

    def standings() -> dict[str, str]:
        return {one["runtime"]: one["standing"] for one in report(incident)["runtimes"]}

    assert standings() == {"worker": "ours", "ua:curl": "suspect", "nightly": "claimed"}
    incident.place("nightly", "ours")
    incident.place("ua:curl", "intruder", THIEF.ip)
    assert standings() == {"worker": "ours", "ua:curl": "intruder", "nightly": "ours"}
    body = report(incident)
    assert [one["request_id"] for one in body["requests"]] == [names[THIEF]]
    assert body["runtimes"][0]["standing"] == "intruder"
    placed = [one["detail"] for one in body["timeline"] if one["what"] == "caller.placed"]
    assert any("ua:curl at 198.51.100.23 is an intruder" in one for one in placed)


def test_the_timeline_has_everything_in_the_order_of_time(home: Workspace) -> None:
    key = leaked(home)
    OURS.call(home, key, "/pins")
    THIEF.call(home, key, "/pins")
    incident = respond(home, key, detail="seen in a paste", found_url="https://paste.example/1")
    THIEF.call(home, key, "/pins")
    [new] = incident.replace()
    home.verify(new.token, runtime="worker", ip="10.1.0.7")
    assert incident.has_recovered(key)
    expect(incident.act("close", {}), 200)
    body = report(incident)
    times = [one["at"] for one in body["timeline"]]
    assert times == sorted(times)
    order = [one["what"] for one in body["timeline"]]
    wanted = ["key.made", "caller.first_seen", "incident.opened", "caller.after_containment"]
    assert [one for one in order if one in wanted] == wanted
    for what in ("key.contained", "key.replaced", "key.recovered", "incident.closed"):
        assert order.count(what) == 1
    assert order.index("key.replaced") < order.index("incident.closed")
    # Its id is spelled as people meet it everywhere else.
    [told] = [one["detail"] for one in body["timeline"] if one["what"] == "key.replaced"]
    assert told.endswith(f"got a replacement, {encode_uuid(UUID(new.id))}.")
    assert "seen in a paste" in str(body["timeline"])
    assert body["incident"]["state"] == "closed"
    # From a row to the request, and from there to its key.
    [found] = home.requests(request_id=body["requests"][0]["request_id"])
    assert found["key_id"] == key.id


def test_what_a_thief_did_to_keyturn_itself_is_in_the_timeline(home: Workspace) -> None:
    key = home.holder("keys:write", "keys:read")
    made = expect(key.api.post("/v1/api-keys", {"name": f"{label('child')}-prod"}), 201)
    body = report(respond(home, key))
    acts = [one for one in body["timeline"] if one["what"] == "activity.api_key.created"]
    assert any(made["name"] in one["detail"] or one["request_id"] for one in acts)
    assert any(one["path"].startswith("POST /v1/api-keys") for one in body["paths"])


def test_another_tenant_sees_nothing(home: Workspace, other: Workspace) -> None:
    incident = respond(home, leaked(home))
    for asked in ({}, {"format": "html"}, {"format": "csv"}):
        theirs = other.admin.get(f"{incident.path}/report", **asked)
        expect(theirs, 404, "incident.unknown")


def test_who_reads_some_slots_sees_the_keys_of_these_alone(home: Workspace) -> None:
    mine, theirs = leaked(home), leaked(home)
    for key in (mine, theirs):
        THIEF.call(home, key, f"/of/{key.id}")
    incident = respond(home, mine, theirs)
    slot = f"{mine.body['service']}-{mine.body['environment']}"
    reader = home.holder(f"requests:read@{slot}")
    body = expect(reader.api.get(f"{incident.path}/report"), 200)
    assert body["totals"]["allowed"] == 1
    assert {one["key_id"] for one in body["requests"]} == {mine.id}
    for kind in ("json", "html", "markdown", "csv"):
        shown = reader.api.get(f"{incident.path}/report", format=kind).text
        assert theirs.id not in shown
        assert theirs.body["name"] not in shown
    nobody = home.holder("keys:read")
    expect(nobody.api.get(f"{incident.path}/report"), 403, "permission.missing")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/markdown", "text/markdown; charset=utf-8"),
        ("text/csv;q=0.5, text/markdown;q=0.9", "text/markdown; charset=utf-8"),
        ("text/*;q=0.1, text/csv", "text/csv; charset=utf-8"),
        ("image/png", "application/json"),
        ("text/html;q=nonsense", "application/json"),
    ],
)
def test_the_form_is_chosen_by_accept(home: Workspace, accept: str | None, media_type: str) -> None:
    incident = respond(home, leaked(home))
    headers = {} if accept is None else {"Accept": accept}
    response = home.admin.call("GET", f"{incident.path}/report", headers=headers)
    assert response.headers["content-type"] == media_type
    assert response.headers["cache-control"] == "no-store"


def test_a_form_that_there_is_not_is_refused(home: Workspace) -> None:
    incident = respond(home, leaked(home))
    expect_invalid(home.admin.get(f"{incident.path}/report", format="pdf"), "/format")
    expect_invalid(home.admin.get(f"{incident.path}/report", nonsense="1"), "/nonsense")


FORMULAS = (
    "=HYPERLINK(\"https://evil.example\",\"x\")", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1,2)",
    "\t=1+1", "\r=1+1", " =1+1", "\n=2",
)  # fmt: skip


def test_no_cell_of_the_csv_is_a_formula(home: Workspace) -> None:
    key = leaked(home)
    names = []
    for formula in FORMULAS:
        names.append(label("request"))
        home.verify(
            key.token,
            request_id=names[-1],
            user_agent=formula,
            method="=1",
            path=formula,
            environment=formula,
        )
    incident = respond(home, key)
    response = home.admin.get(f"{incident.path}/report", format="csv")
    assert response.headers["content-disposition"].startswith("attachment")
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert {row["request_id"] for row in rows} == set(names)
    for row in rows:
        for cell in row.values():
            assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert all(row["method"] == "'=1" for row in rows)


ATTACKS = tuple(
    attack
    for wrapped in ("{}", "\">{}", "'>{}", "</td></tr></table>{}", "</style>{}")
    for attack in (
        wrapped.format(one)
        for one in (
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "<svg/onload=alert(1)>",
            "<iframe src=javascript:alert(1)>",
            "<a href='javascript:alert(1)'>x</a>",
            "<link rel=stylesheet href=//evil.example/x.css>",
            "<style>*{background:url(//evil.example)}</style>",
            "<meta http-equiv=refresh content='0;url=//evil.example'>",
            "&lt;script&gt;alert(1)&lt;/script&gt;",
            "<base href=//evil.example/>",
        )
    )
)  # fmt: skip
TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "h1", "h2", "div", "span",
    "b", "p", "dl", "dt", "dd", "section", "table", "thead", "tbody", "tr", "th", "td", "footer",
}  # fmt: skip


class Reader(HTMLParser):
    """What a browser would find in the page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= set(attrs)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_shows_an_attack_as_the_text_that_it_is(home: Workspace) -> None:
    assert len(ATTACKS) == 50
    key = leaked(home)
    for attack in ATTACKS:
        home.verify(
            key.token, user_agent=attack, method="GET", path=f"/{attack}", environment=attack[:60]
        )
    incident = respond(home, key, detail=ATTACKS[1])
    response = home.admin.get(f"{incident.path}/report", format="html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "script" not in response.headers["content-security-policy"]
    reader = Reader()
    reader.feed(response.text)
    assert reader.tags <= TAGS
    assert {name for name, _ in reader.attributes} <= {
        "lang",
        "charset",
        "name",
        "content",
        "class",
    }
    shown = "".join(reader.text)
    for attack in ATTACKS:
        assert attack in shown
    # Nothing is loaded from anywhere, and nothing runs.
    assert (
        re.search(r"(?i)(src|href|url|import|action)\s*[=(]", _without_text(response.text)) is None
    )
    markdown = text(incident, "markdown")
    assert re.search(r"(?<!\\)[<>]", markdown) is None


def test_the_page_breaks_no_address_in_two(home: Workspace) -> None:
    key = leaked(home)
    address = "2001:db8:1234:5678:9abc:def0:1234:5678"
    home.verify(key.token, user_agent="curl/8", ip=address)
    page = text(respond(home, key), "html")
    assert f'<td class="a">{address}</td>' in page
    assert "td.w,td.a{white-space:nowrap}" in page


def _without_text(page: str) -> str:
    """The page's own markup and style."""
    return re.sub(r">[^<]*(?=<)", ">", page.partition("<body>")[2]) + page.partition("<body>")[0]


def test_a_ticket_has_no_links_and_no_mentions_of_a_strangers(home: Workspace) -> None:
    key = leaked(home)
    home.verify(
        key.token,
        user_agent="[x](https://evil.example) @everyone www.evil.example",
        path="/|a|`b`",
    )
    told = text(respond(home, key), "markdown")
    assert "](https" not in told
    assert not re.search(r"https?:(?!\u2060)//evil|@everyone|www\.evil", told.replace("\\", ""))
    lines = [line for line in told.splitlines() if line.startswith("|")]
    assert all(re.search(r"(?<!\\)`", line) is None for line in lines)


def test_it_says_what_it_does_not_know(site: Site, home: Workspace) -> None:
    """Who verifies others with a key is counted, and has no request of its own."""
    key = home.holder("verify")
    asked = home.admin.create()
    key.api.verify(asked.token)
    incident = respond(home, key)
    assert until(lambda: incident.now()["counted_at"] is not None, 20)
    body = report(incident)
    assert body["complete"] is False
    assert "to verify other tokens" in str(body["gaps"])


def test_an_incident_that_there_is_not(home: Workspace) -> None:
    for name in ("x", "01900000-0000-7000-8000-000000000001"):
        expect(home.admin.get(f"/v1/incidents/{name}/report"), 404, "incident.unknown")


def test_the_window_begins_when_it_is_said_to_to_the_microsecond(home: Workspace) -> None:
    key = leaked(home)
    first = THIEF.call(home, key, "/one")
    [one] = home.requests(request_id=first)
    at = datetime.fromisoformat(one["at"])
    incident = respond(home, key, exposed_since=one["at"])
    assert [each["request_id"] for each in report(incident)["requests"]] == [first]
    key = leaked(home)
    first = THIEF.call(home, key, "/one")
    [one] = home.requests(request_id=first)
    at = datetime.fromisoformat(one["at"]) + timedelta(microseconds=1)
    incident = respond(home, key, exposed_since=at.isoformat())
    assert report(incident)["totals"]["allowed"] == 0
