"""The mail server that the settings name, with the password from its file."""

from urllib.parse import unquote, urlsplit

from keyturn.domain.error import InstallationFault
from keyturn.outbound.mail import IMPLICIT_TLS_PORT, SUBMISSION_PORT, MailServer, SmtpPostbox
from keyturn.server.settings import Settings


def open_postbox(settings: Settings) -> SmtpPostbox | None:
    """The postbox, None where no mail server is named. Raises `InstallationFault` where the
    password cannot be read."""
    if settings.mail_server is None or settings.mail_from is None:
        return None
    parts = urlsplit(settings.mail_server)
    is_implicit_tls = parts.scheme == "smtps"
    return SmtpPostbox(
        MailServer(
            host=parts.hostname or "",
            port=parts.port or (IMPLICIT_TLS_PORT if is_implicit_tls else SUBMISSION_PORT),
            is_implicit_tls=is_implicit_tls,
            user=None if parts.username is None else unquote(parts.username),
            password=_password(settings),
            sender=settings.mail_from,
        )
    )


def _password(settings: Settings) -> str | None:
    path = settings.mail_password_file
    if path is None:
        return None
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InstallationFault(
            f"The mail server's password cannot be read from {path} ({why}).",
            remedy="Name the right file in KEYTURN_MAIL_PASSWORD_FILE, readable by this user.",
        ) from error
