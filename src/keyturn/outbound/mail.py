"""E-mail by SMTP: `smtps://` with TLS from the first byte, `smtp://` with STARTTLS before anything
that matters. Without TLS nothing is sent, but to a mail server on this machine's loopback.

The server is the operator's own word, so no guard stands before it.
"""

import contextlib
import smtplib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from ipaddress import ip_address

from keyturn.domain.instant import SECOND
from keyturn.domain.text import without_controls
from keyturn.outbound.letter import Letter, LetterFault, LetterFaultKind

SECONDS = 15.0
LONGEST_SUBJECT = 200
IMPLICIT_TLS_PORT = 465
SUBMISSION_PORT = 587


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Where mail is given to, and as whom. `password` is None where none is asked for."""

    host: str
    port: int
    is_implicit_tls: bool
    user: str | None
    password: str | None = field(repr=False)
    sender: str

    @property
    def is_on_loopback(self) -> bool:
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class SmtpPostbox:
    """Posts letters, each in a session of its own. `trust` gives the TLS context."""

    def __init__(
        self,
        server: MailServer,
        *,
        seconds: float = SECONDS,
        trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._server = server
        self._seconds = seconds
        self._trust = trust

    def post(self, letter: Letter) -> None:
        message = compose(letter, self._server.sender)
        with _told(), self._session() as session:
            session.send_message(
                message, from_addr=self._server.sender, to_addrs=[letter.recipient]
            )

    @contextlib.contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        server = self._server
        session: smtplib.SMTP
        if server.is_implicit_tls:
            session = smtplib.SMTP_SSL(
                server.host, server.port, timeout=self._seconds, context=self._trust()
            )
        else:
            session = smtplib.SMTP(server.host, server.port, timeout=self._seconds)
        try:
            session.ehlo()
            if not server.is_implicit_tls:
                self._secure(session)
            if server.user is not None and server.password is not None:
                session.login(server.user, server.password)
            yield session
        finally:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                session.quit()
            session.close()

    def _secure(self, session: smtplib.SMTP) -> None:
        if session.has_extn("starttls"):
            session.starttls(context=self._trust())
            session.ehlo()
        elif not self._server.is_on_loopback or self._server.password is not None:
            raise LetterFault(
                LetterFaultKind.NOT_UNDERSTOOD, "The mail server offers no TLS; nothing was sent."
            )


def compose(letter: Letter, sender: str) -> EmailMessage:
    """The letter as a mail. The library folds and encodes, and refuses a line's end in a header."""
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(addr_spec=sender, display_name="Keyturn")
    message["To"] = Address(addr_spec=letter.recipient)
    message["Subject"] = without_controls(letter.subject, LONGEST_SUBJECT)
    message["Date"] = datetime.fromtimestamp(letter.at // SECOND, UTC)
    message["Message-ID"] = f"<{letter.message_id}@{sender.rpartition('@')[2]}>"
    # RFC 3834: nobody's holiday notice answers it.
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(letter.text)
    return message


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turns what goes wrong into sentences of our own; what the server said stays out."""
    refused, busy = LetterFaultKind.REFUSED, LetterFaultKind.BUSY
    unreachable = LetterFaultKind.UNREACHABLE
    code: int | None = None
    try:
        yield
    except LetterFault:
        raise
    except smtplib.SMTPRecipientsRefused as error:
        code = next((answer[0] for answer in error.recipients.values()), 550)
    except smtplib.SMTPResponseException as error:
        code = int(error.smtp_code)
    except smtplib.SMTPServerDisconnected:
        raise LetterFault(unreachable, "The mail server closed the connection.") from None
    except smtplib.SMTPException:
        raise LetterFault(
            LetterFaultKind.NOT_UNDERSTOOD, "The mail server cannot be understood."
        ) from None
    except TimeoutError:
        raise LetterFault(
            LetterFaultKind.TIMED_OUT, "The mail server did not answer in time."
        ) from None
    except OSError:  # TLS that fails, too
        raise LetterFault(unreachable, "The mail server cannot be reached safely.") from None
    if code is not None:
        kind = busy if 400 <= code < 500 else refused
        status = f"{code // 100}xx"
        raise LetterFault(kind, "The mail server did not take the letter.", status=status)
