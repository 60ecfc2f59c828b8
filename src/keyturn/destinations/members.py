"""The members of a destination's configuration, read one by one, with every fault together."""

import re
from collections.abc import Mapping

from keyturn.destinations.contract import ConfigurationFault
from keyturn.destinations.place import pattern_fault, place_of
from keyturn.domain.slot import SlotName
from keyturn.outbound.client import trust
from keyturn.outbound.contract import OutboundFault
from keyturn.outbound.url import UrlRefused, parse_call_url

_LONGEST = 65_536
_OUTSIDE_MEMBERS = re.compile(r"[^{}]*")
_SAMPLE = SlotName(service="a", environment="b")


class Members:
    """What is read is kept; `end` raises what was wrong. A credential's text is never repeated."""

    def __init__(self, config: Mapping[str, object], credential: Mapping[str, str]) -> None:
        self._config = config
        self._credential = credential
        self._faults: list[tuple[str, str]] = []
        self._asked: set[str] = set()

    def fault(self, pointer: str, detail: str) -> None:
        self._faults.append((pointer, detail))

    def text(self, name: str, allowed: re.Pattern[str], wanted: str) -> str:
        """A text of the configuration; empty where it is wrong, which `end` tells."""
        value = self._optional(f"/config/{name}", self._config.get(name), wanted)
        if value is None and self._config.get(name) is None:
            self.fault(f"/config/{name}", wanted)
        if value is not None and allowed.fullmatch(value) is None:
            self.fault(f"/config/{name}", wanted)
        return value or ""

    def optional_text(self, name: str, allowed: re.Pattern[str], wanted: str) -> str | None:
        value = self._optional(f"/config/{name}", self._config.get(name), wanted)
        if value is not None and allowed.fullmatch(value) is None:
            self.fault(f"/config/{name}", wanted)
        return value

    def pattern(self, name: str, allowed: re.Pattern[str], default: str) -> str:
        """The pattern of the slots' places."""
        given = self._config.get(name)
        value = self._optional(
            f"/config/{name}", default if given is None else given, "Give a text."
        )
        if value is not None and (detail := pattern_fault(value, allowed)) is not None:
            self.fault(f"/config/{name}", detail)
        return value or ""

    def address(self, name: str, default: str | None = None) -> str | None:
        """The address of a server, without a path. In the clear as well, as `server` is."""
        wanted = "Give the address of a server: https://, a host, and no path."
        given = self._config.get(name)
        value = self._optional(f"/config/{name}", default if given is None else given, wanted)
        if value is None:
            return None
        if not _is_address(value):
            self.fault(f"/config/{name}", wanted)
        return value.removesuffix("/")

    def place(self, name: str, whole: re.Pattern[str], default: str) -> str:
        """The pattern of the slots' places, each of which, as a whole, must match."""
        value = self._optional(f"/config/{name}", self._config.get(name) or default, "Give a text.")
        if value is None:
            return ""
        detail = pattern_fault(value, _OUTSIDE_MEMBERS)
        if detail is None and whole.fullmatch(place_of(value, _SAMPLE)) is None:
            detail = "It makes names that a place of this kind cannot have."
        if detail is not None:
            self.fault(f"/config/{name}", detail)
        return value

    def server(self, name: str) -> str:
        """The address of a server that must be named, with or without a path before its own. In
        the clear as well: the way out keeps that to the networks that the operator allows."""
        wanted = "Give the address of a server, like https://vault.example:8200."
        value = self._optional(f"/config/{name}", self._config.get(name), wanted)
        if value is None and self._config.get(name) is None:
            self.fault(f"/config/{name}", wanted)
        if value is not None and not _is_server(value):
            self.fault(f"/config/{name}", wanted)
        return (value or "").rstrip("/")

    def ca_certificate(self) -> str | None:
        wanted = "Give the certificate of an authority, in PEM."
        value = self._optional("/config/ca_certificate", self._config.get("ca_certificate"), wanted)
        if value is not None and not _is_certificate(value):
            self.fault("/config/ca_certificate", wanted)
        return value

    def secret(self, name: str, allowed: re.Pattern[str], wanted: str) -> str:
        """A member of the credential that must be there."""
        value = self.optional_secret(name, allowed, wanted)
        if self._credential.get(name) is None:
            self.fault(f"/credential/{name}", wanted)
        return value or ""

    def optional_secret(self, name: str, allowed: re.Pattern[str], wanted: str) -> str | None:
        value = self._optional(f"/credential/{name}", self._credential.get(name), wanted)
        if value is not None and allowed.fullmatch(value) is None:
            self.fault(f"/credential/{name}", wanted)
        return value

    def end(self) -> None:
        """Raises `ConfigurationFault` where anything was wrong or is not known."""
        for part, given in (("config", self._config), ("credential", self._credential)):
            for name in given:
                if f"/{part}/{name}" not in self._asked:
                    self.fault(f"/{part}/{name}", "A destination of this kind has no such member.")
        if self._faults:
            raise ConfigurationFault(*self._faults)

    def _optional(self, pointer: str, value: object, wanted: str) -> str | None:
        self._asked.add(pointer)
        if value is None:
            return None
        if not isinstance(value, str) or not value or len(value) > _LONGEST:
            self.fault(pointer, wanted)
            return None
        return value


def _is_server(text: str) -> bool:
    try:
        target = parse_call_url(text).target
    except UrlRefused:
        return False
    steps = target.rstrip("/").split("/")[1:]
    return "?" not in target and not {"", ".", ".."} & set(steps)


def _is_certificate(text: str) -> bool:
    try:
        trust(text)
    except OutboundFault:
        return False
    return True


def _is_address(text: str) -> bool:
    try:
        return parse_call_url(text).target == "/"
    except UrlRefused:
        return False
