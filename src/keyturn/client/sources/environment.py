"""`env:NAME`: a variable of this process. It never changes while the process lives."""

from collections.abc import Mapping

from keyturn.client.sources.contract import Stamp, unreadable

_STEADY: Stamp = (0,)


class EnvironmentSource:
    def __init__(self, variable: str, environ: Mapping[str, str]) -> None:
        self._variable = variable
        self._environ = environ
        self.name = f"env:{variable}"

    def read(self) -> str:
        text = self._environ.get(self._variable)
        if text is None:
            raise unreadable(self.name, "the variable is not set", may_pass=False)
        return text

    def stamp(self) -> Stamp | None:
        return _STEADY
