"""The signing secret of a webhook, as it is handed to its receiver."""

from typing import NoReturn

SECRET_PREFIX = "whsec_"


class WebhookSecret:
    """A signing secret as its receiver needs it, which does not show itself."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not text.startswith(SECRET_PREFIX):
            raise ValueError("not a signing secret")
        self._text = text

    def reveal(self) -> str:
        """The secret itself, for the one answer or file that hands it out. Never log it."""
        return self._text

    def __repr__(self) -> str:
        return "<WebhookSecret>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing secret cannot be pickled or copied")
