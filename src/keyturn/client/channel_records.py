"""What the API answers of channels and messages. The same holds here as in `resources.py`."""

from keyturn.client.errors import SecretLost
from keyturn.client.record import Instant, Record
from keyturn.domain.signing_secret import WebhookSecret


class ChannelSecret(Record, frozen=True, kw_only=True):
    """That a webhook has a signing secret; `ends_at` is None for the newest."""

    created_at: Instant
    ends_at: Instant | None = None


class Channel(Record, frozen=True, kw_only=True):
    """Where a workspace is told of events: `kind` is webhook or email, `state` active, paused or
    disabled, for a `reason`. Who only reads is told no more of `url` than its host."""

    id: str
    workspace_id: str
    kind: str
    name: str
    url: str | None = None
    addresses: list[str]
    to_owners: bool
    events: list[str]
    state: str
    reason: str | None = None
    secrets: list[ChannelSecret]
    messages_waiting: int
    messages_dead: int
    last_sent_at: Instant | None = None
    created_at: Instant
    created_by: str
    updated_at: Instant
    version: int


class MadeChannel(Channel, frozen=True, kw_only=True):
    """A channel with its newest signing secret, which is answered this once; mail has none."""

    secret: WebhookSecret | None

    @property
    def signing_secret(self) -> WebhookSecret:
        """The secret; `.reveal()` gives the string. Raises `SecretLost` where there is none."""
        if self.secret is None:
            raise SecretLost(self.id)
        return self.secret


class Attempt(Record, frozen=True, kw_only=True):
    """One time that a message was sent. `status` is the class of the answer, like 5xx."""

    at: Instant
    outcome: str
    status: str | None = None


class Message(Record, frozen=True, kw_only=True):
    """One event on its way to one channel: `state` is waiting, sent or dead."""

    id: str
    workspace_id: str
    channel_id: str
    event: str
    subject: str
    state: str
    reason: str | None = None
    tries: int
    next_try_at: Instant | None = None
    recipients: list[str]
    created_at: Instant
    ended_at: Instant | None = None
    attempts: list[Attempt]
    payload: dict[str, object]


class Replayed(Record, frozen=True, kw_only=True):
    """How many messages of a channel are sent anew."""

    channel_id: str
    messages: int
