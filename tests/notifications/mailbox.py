"""A mail server on this machine's loopback, which keeps what it was given."""

import ssl
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from keyturn.outbound.mail import MailServer, SmtpPostbox

SENDER = "keyturn@example.com"


class Mailbox:
    """`answer` says what is answered to a recipient, None for yes."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        is_implicit: bool = False,
        password: str | None = None,
    ) -> None:
        self.received: list[tuple[str, EmailMessage]] = []
        self.answer: Callable[[str], str | None] = lambda _: None
        self._password = password
        options: dict[str, Any] = {}
        if tls is not None and is_implicit:
            options["ssl_context"] = tls
        elif tls is not None:
            options |= {"tls_context": tls, "require_starttls": True}
        if password is not None:
            options |= {
                "authenticator": self._authenticate,
                "auth_required": True,
                "auth_require_tls": not is_implicit,
            }
        self._controller = Controller(
            self, hostname="127.0.0.1", port=0, ready_timeout=10, **options
        )
        self._controller.start()
        sockets = self._controller.server.sockets  # type: ignore[union-attr]
        self.port = int(sockets[0].getsockname()[1])
        self._is_implicit = is_implicit
        self._tls = tls

    def _authenticate(self, *arguments: Any) -> AuthResult:
        data = arguments[4]
        is_right = (
            isinstance(data, LoginPassword)
            and data.login == b"user"
            and data.password == (self._password or "").encode()
        )
        return AuthResult(success=is_right)

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        refusal = self.answer(address)
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        parsed = message_from_bytes(envelope.content, policy=default)
        assert isinstance(parsed, EmailMessage)
        for address in envelope.rcpt_tos:
            self.received.append((address, parsed))
        return "250 OK"

    def postbox(
        self,
        trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        password: str | None = None,
    ) -> SmtpPostbox:
        return SmtpPostbox(
            MailServer(
                host="127.0.0.1",
                port=self.port,
                is_implicit_tls=self._is_implicit,
                user=None if password is None else "user",
                password=password,
                sender=SENDER,
            ),
            trust=trust,
            seconds=5,
        )

    def close(self) -> None:
        self._controller.stop()
