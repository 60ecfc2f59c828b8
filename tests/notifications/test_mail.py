"""Mail: plain text with a clear subject, safe from injection, the same each time it is repeated."""

import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.domain.channel import ChannelKind, is_address
from keyturn.domain.error import RequestInvalid
from keyturn.domain.mail import letter_text, subject_line
from keyturn.domain.message import MessageState, Outcome
from keyturn.domain.slot import SlotNotes
from keyturn.outbound.letter import Letter, LetterFault, LetterFaultKind
from keyturn.outbound.mail import MailServer, SmtpPostbox, compose
from keyturn.services.find import reconcile
from keyturn.services.schedule import SCHEDULE_KINDS, schedule_causes
from keyturn.services.subscribe import ChannelDraft
from tests.houses import House
from tests.notifications.mailbox import SENDER, Mailbox
from tests.notifications.office import Office
from tests.servers.authority import Authority, found_authority

LETTER = Letter(
    recipient="ops@example.com", subject="é told", text="One.\nTwo.\n", message_id="a.b", at=0
)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return found_authority()


@pytest.fixture
def open_mailbox() -> Iterator[Callable[..., Mailbox]]:
    made: list[Mailbox] = []

    def open_one(**options: object) -> Mailbox:
        made.append(Mailbox(**options))  # type: ignore[arg-type]
        return made[-1]

    yield open_one
    for one in made:
        one.close()


def mail(
    *addresses: str, to_owners: bool = False, events: tuple[str, ...] = ("*",)
) -> ChannelDraft:
    return ChannelDraft(
        kind=ChannelKind.EMAIL,
        name="on call",
        addresses=addresses,
        to_owners=to_owners,
        events=events,
    )


def test_an_event_arrives_as_a_mail(house: House, open_mailbox: Callable[..., Mailbox]) -> None:
    mailbox = open_mailbox()
    office = Office(house, postbox=mailbox.postbox())
    made = office.make(mail("ops@example.com", "ada@example.com", events=("api_key.created",)))
    assert made.secret is None
    house.issue(name="scheduler-prod")
    office.work()
    assert {address for address, _ in mailbox.received} == {"ops@example.com", "ada@example.com"}
    address, message = mailbox.received[0]
    assert message["subject"] == "[Keyturn] Key scheduler-prod was made in slot scheduler-prod."
    assert message["to"] == address
    assert SENDER in message["from"]
    assert message["auto-submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"
    assert "api_key.created" in message.get_content()
    assert [one.state for one in office.messages()] == [MessageState.SENT]


def test_a_slots_owner_is_told_where_that_is_an_address(
    house: House, open_mailbox: Callable[..., Mailbox]
) -> None:
    mailbox = open_mailbox()
    office = Office(house, postbox=mailbox.postbox())
    office.make(mail(to_owners=True, events=("api_key.created",)))
    house.issue(name="a-prod", notes=SlotNotes(owner="ada@example.com"))
    house.issue(name="b-prod", notes=SlotNotes(owner="the platform team"))
    house.issue(name="c-prod")
    office.work()
    assert [address for address, _ in mailbox.received] == ["ada@example.com"]
    assert len(office.messages()) == 1


def test_a_repetition_goes_to_those_alone_who_have_not_got_it_and_can_be_told(
    house: House, open_mailbox: Callable[..., Mailbox]
) -> None:
    mailbox = open_mailbox()
    office = Office(house, postbox=mailbox.postbox())
    office.make(mail("one@example.com", "two@example.com", events=("api_key.created",)))
    mailbox.answer = lambda address: "451 Later" if address.startswith("two") else None
    house.issue()
    office.work()
    [message] = office.messages()
    assert (message.reached, message.attempts[-1].outcome) == (("one@example.com",), Outcome.BUSY)
    assert message.attempts[-1].status == "4xx"
    mailbox.answer = lambda _: None
    office.pass_time(10)
    office.work()
    assert [address for address, _ in mailbox.received] == ["one@example.com", "two@example.com"]
    first = mailbox.received[0][1]["message-id"]
    office.house.run("UPDATE messages SET state = 'waiting', reached = '[]'")
    office.work()
    assert [one["message-id"] for address, one in mailbox.received if address[:3] == "one"] == [
        first,
        first,
    ]
    assert len({one["message-id"] for _, one in mailbox.received}) == 2
    assert first.endswith("@example.com>")


def test_a_finding_is_mailed_with_what_to_do(
    house: House, open_mailbox: Callable[..., Mailbox]
) -> None:
    mailbox = open_mailbox()
    office = Office(house, postbox=mailbox.postbox())
    office.make(mail("ops@example.com", events=("finding.*",)))
    house.issue(name="scheduler-prod", expires_at=house.clock.now() + 40 * 86_400_000_000)
    house.clock.advance(11 * 86_400_000_000)
    with house.store.read() as reading:
        workspace = reading.workspaces.find(house.workspace_id)
        assert workspace is not None
        causes = schedule_causes(reading, workspace, house.clock.now())
    reconcile(office.context, house.workspace_id, causes, SCHEDULE_KINDS)
    office.work()
    expiring = [one for _, one in mailbox.received if "key.expiring" in one["subject"]]
    assert [one["subject"] for one in expiring] == [
        "[Keyturn] info: key.expiring on scheduler-prod"
    ]
    text = expiring[0].get_content()
    assert "keyturn rotations start scheduler-prod" in text.replace("\n", " ")
    assert "expires at" in text


@pytest.mark.filterwarnings("ignore:Requiring AUTH", "ignore:Session.login_data")
def test_tls_is_spoken_with_who_can_show_its_certificate(
    tmp_path: Path, authority: Authority, open_mailbox: Callable[..., Mailbox]
) -> None:
    tls = authority.context(tmp_path, "127.0.0.1")

    def trust() -> ssl.SSLContext:
        return ssl.create_default_context(cadata=authority.pem)

    for is_implicit in (True, False):
        mailbox = open_mailbox(tls=tls, is_implicit=is_implicit, password="right")
        mailbox.postbox(trust, "right").post(LETTER)
        [(_, message)] = mailbox.received
        assert message["subject"] == "é told"
        assert message.get_content().splitlines() == ["One.", "Two."]
        with pytest.raises(LetterFault) as untrusted:
            mailbox.postbox(password="right").post(LETTER)
        assert untrusted.value.kind is LetterFaultKind.UNREACHABLE
        with pytest.raises(LetterFault) as denied:
            mailbox.postbox(trust, "wrong").post(LETTER)
        assert denied.value.kind is LetterFaultKind.REFUSED
        assert len(mailbox.received) == 1


def test_no_password_goes_to_a_server_without_tls(open_mailbox: Callable[..., Mailbox]) -> None:
    mailbox = open_mailbox()
    with pytest.raises(LetterFault, match="no TLS"):
        mailbox.postbox(password="right").post(LETTER)
    assert mailbox.received == []


def test_a_mail_server_that_is_not_there_is_told_of_in_our_own_words() -> None:
    server = MailServer(
        host="127.0.0.1", port=1, is_implicit_tls=False, user=None, password=None, sender=SENDER
    )
    with pytest.raises(LetterFault) as fault:
        SmtpPostbox(server).post(LETTER)
    assert fault.value.kind is LetterFaultKind.UNREACHABLE


@pytest.mark.parametrize("evil", ["\r\nBcc: eve@example.com", "\nX: y", "\r", "\u2028z", "\x00"])
def test_no_text_of_an_event_begins_a_header(evil: str) -> None:
    event = {"type": "a.b", "data": {"message": f"Key x{evil} was made.", "metadata": {"n": evil}}}
    subject = subject_line(json.loads(json.dumps(event)))
    message = compose(
        replace(LETTER, subject=subject, text=letter_text(event, f"name{evil}")), SENDER
    )
    raw = message.as_bytes()
    head, _, _ = raw.partition(b"\r\n\r\n")
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1] not in b" \t"]
    assert set(names) <= {
        b"From",
        b"To",
        b"Subject",
        b"Date",
        b"Message-ID",
        b"Auto-Submitted",
        b"X-Auto-Response-Suppress",
        b"Content-Type",
        b"Content-Transfer-Encoding",
        b"MIME-Version",
    }


@pytest.mark.parametrize(
    "text",
    [
        "a@b\r\nBcc: c@d",
        "a@b c",
        "a b@c.d",
        "<a@b.c>",
        "a@b.c,d@e.f",
        "@b.c",
        "a@",
        "a@-b.c",
        f"{'a' * 251}@b.c",
    ],
)
def test_what_is_no_plain_address_is_none(text: str) -> None:
    assert not is_address(text)


def test_without_a_mail_server_a_channel_by_mail_is_refused_with_the_way_out(
    house: House,
) -> None:
    with pytest.raises(RequestInvalid, match="KEYTURN_MAIL_SERVER"):
        Office(house).make(mail("ops@example.com"))
