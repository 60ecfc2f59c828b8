"""The courier: takes one message to its receiver, and says how that ended.

What the other side answers is read for its status and its `Retry-After`, and kept nowhere.
"""

import hashlib
import json
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from keyturn import __version__
from keyturn.domain.channel import Channel, ChannelKind
from keyturn.domain.error import IntegrityFailed
from keyturn.domain.instant import SECOND
from keyturn.domain.mail import letter_text, subject_line
from keyturn.domain.message import Envelope, Message, Outcome
from keyturn.domain.webhook import sign
from keyturn.outbound.contract import Outbound, OutboundAnswer, OutboundFault, OutboundFaultKind
from keyturn.outbound.letter import Letter, LetterFault, LetterFaultKind, Postbox
from keyturn.services.context import Context
from keyturn.services.subscribe import open_secret

SECONDS = 15.0

_OF_FAULTS = {
    OutboundFaultKind.REFUSED: Outcome.ADDRESS_REFUSED,
    OutboundFaultKind.UNREACHABLE: Outcome.UNREACHABLE,
    OutboundFaultKind.TIMED_OUT: Outcome.TIMED_OUT,
    OutboundFaultKind.NOT_UNDERSTOOD: Outcome.NOT_UNDERSTOOD,
}
_OF_LETTERS = {
    LetterFaultKind.REFUSED: Outcome.REFUSED,
    LetterFaultKind.BUSY: Outcome.BUSY,
    LetterFaultKind.UNREACHABLE: Outcome.UNREACHABLE,
    LetterFaultKind.TIMED_OUT: Outcome.TIMED_OUT,
    LetterFaultKind.NOT_UNDERSTOOD: Outcome.NOT_UNDERSTOOD,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How an attempt ended. `reached` are all recipients that have it now, `retry_after` the
    receiver's wish in seconds."""

    outcome: Outcome
    status: str | None = None
    retry_after: int | None = None
    reached: tuple[str, ...] = ()


class Courier:
    """One installation's way to the receivers. Without a postbox no mail is sent."""

    def __init__(self, context: Context, outbound: Outbound, postbox: Postbox | None) -> None:
        self._context = context
        self._outbound = outbound
        self._postbox = postbox

    def take(self, channel: Channel, message: Message) -> Report:
        """Makes one attempt."""
        if channel.kind is ChannelKind.EMAIL:
            return self._mail(channel, message)
        return self._call(channel, message.envelope)

    def _call(self, channel: Channel, envelope: Envelope) -> Report:
        now = self._context.clock.now()
        try:
            secrets = [
                open_secret(self._context, channel, one) for one in channel.live_secrets(now)
            ]
        except IntegrityFailed:
            secrets = []
        if channel.url is None or not secrets:
            return Report(outcome=Outcome.NOT_SENDABLE)
        body = envelope.body.encode()
        headers = {
            "content-type": "application/json",
            "user-agent": f"Keyturn/{__version__}",
            **sign(secrets, str(envelope.id), now, body),
        }
        try:
            answer = self._outbound.send(
                "POST", channel.url, headers=headers, content=body, seconds=SECONDS
            )
        except OutboundFault as fault:
            return Report(outcome=_OF_FAULTS[fault.kind])
        return Report(
            outcome=_outcome(answer.status),
            status=f"{answer.status // 100}xx",
            retry_after=_retry_after(answer, now),
        )

    def _mail(self, channel: Channel, message: Message) -> Report:
        reached = list(message.reached)
        if self._postbox is None:
            return Report(outcome=Outcome.NOT_SENDABLE, reached=message.reached)
        failed: Report | None = None
        event = json.loads(message.envelope.body)
        for address in message.envelope.recipients:
            if address in reached:
                continue
            try:
                self._postbox.post(self._letter(channel, message.envelope, event, address))
            except LetterFault as fault:
                failed = Report(outcome=_OF_LETTERS[fault.kind], status=fault.status)
                if fault.kind not in (LetterFaultKind.REFUSED, LetterFaultKind.BUSY):
                    break  # it is the server, and no better for the next address
            else:
                reached.append(address)
        if failed is not None:
            return Report(outcome=failed.outcome, status=failed.status, reached=tuple(reached))
        return Report(outcome=Outcome.ACCEPTED, status="2xx", reached=tuple(reached))

    def _letter(
        self, channel: Channel, envelope: Envelope, event: dict[str, object], address: str
    ) -> Letter:
        whom = hashlib.sha256(address.encode()).hexdigest()[:16]
        return Letter(
            recipient=address,
            subject=subject_line(event),
            text=letter_text(event, channel.name),
            message_id=f"{envelope.id}.{whom}",
            at=self._context.clock.now(),
        )


def _outcome(status: int) -> Outcome:
    match status:
        case 410:
            return Outcome.GONE
        case 429 | 503:
            return Outcome.BUSY
        case _ if 200 <= status < 300:
            return Outcome.ACCEPTED
        case _ if 300 <= status < 400:
            return Outcome.REDIRECTED
        case _ if 400 <= status < 500:
            return Outcome.REFUSED
        case _:
            return Outcome.BROKEN


def _retry_after(answer: OutboundAnswer, now: int) -> int | None:
    """RFC 9110, 10.2.3: seconds, or a date."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0, round(moment - now / SECOND))
