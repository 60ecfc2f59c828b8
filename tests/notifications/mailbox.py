"""A mail server on this machine's loopback, which keeps what it was given."""

import asyncio
import ssl
import threading
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

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
        if tls is not None and not is_implicit:
            options |= {"tls_context": tls, "require_starttls": True}
        if password is not None:
            options |= {
                "authenticator": self._authenticate,
                "auth_required": True,
                "auth_require_tls": not is_implicit,
            }
        self._is_implicit = is_implicit
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            self._serve(options, tls if is_implicit else None), self._loop
        ).result(10)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def _serve(
        self, options: dict[str, Any], tls: ssl.SSLContext | None
    ) -> asyncio.base_events.Server:
        return await self._loop.create_server(
            lambda: SMTP(self, hostname="localhost", loop=self._loop, **options),
            "127.0.0.1",
            0,
            ssl=tls,
        )

    def _authenticate(self, *arguments: Any) -> AuthResult:
        data = arguments[4]
        is_right = (
            isinstance(data, LoginPassword)
            and data.login == b"user"
            and data.password == (self._password or "").encode()
        )
        return AuthResult(success=is_right, handled=False)

    async def handle_RCPT(  # noqa: N802  (the library calls it so)
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        refusal = self.answer(address)
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802  (the library calls it so)
        self, server: Any, session: Any, envelope: Any
    ) -> str:
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
        async def stop() -> None:
            self._server.close()
            others = asyncio.all_tasks(self._loop) - {asyncio.current_task(self._loop)}
            for one in others:
                one.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.sleep(0.05)  # until what broke off has shut its sockets

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
