"""Holding answers against an OpenAPI 3.1 document: the part of JSON Schema that ours uses.

A keyword that this does not know is an error, so that nothing passes unread.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx2

Json = Any

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_SILENT = {"title", "description", "default", "examples", "$defs"}
_TYPES: dict[str, Callable[[Json], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) in (int, float),
    "boolean": lambda value: type(value) is bool,
    "null": lambda value: value is None,
}


class Conformance:
    """Knows which answers a document allows."""

    def __init__(self, document: Json) -> None:
        self.document = document
        self._routes = [
            (_pattern(path), {method.upper(): op for method, op in operations.items()})
            for path, operations in document["paths"].items()
        ]

    def operations(self) -> Iterator[tuple[str, str, Json]]:
        """Method, path and declaration of each operation."""
        for path, operations in self.document["paths"].items():
            for method, operation in operations.items():
                yield method.upper(), path, operation

    def check(self, response: httpx2.Response) -> None:
        """Fails unless the document foresees this answer. Unknown paths answer problems alone."""
        operation = self._operation(response.request.method, response.request.url.path)
        content_type = response.headers.get("content-type", "").partition(";")[0]
        if operation is None:
            assert content_type in ("application/problem+json", "application/json"), content_type
            if content_type == "application/problem+json":
                self.hold(response.json(), {"$ref": "#/components/schemas/Problem"})
            return
        declared = _declared(operation, response.status_code)
        place = f"{response.request.method} {response.request.url.path} {response.status_code}"
        assert declared is not None, f"the document has no {place}"
        contents = declared.get("content", {})
        if not response.content:
            assert not contents, f"{place} has no body, the document says {sorted(contents)}"
            return
        assert content_type in contents or not contents, f"{place} answers {content_type}"
        if "json" in content_type:
            self.hold(response.json(), contents[content_type]["schema"], place)

    def hold(self, value: Json, schema: Json, place: str = "$") -> None:
        """Fails where `value` is not what `schema` says. It names the place, not the value."""
        for keyword, wanted in schema.items():
            if keyword in _SILENT:
                continue
            rule = getattr(self, "_hold_" + keyword.replace("$", ""), None)
            assert rule is not None, f"{place}: the checker does not know `{keyword}`"
            rule(value, wanted, schema, place)

    # --- one method a keyword --------------------------------------------------------------------

    def _hold_ref(self, value: Json, wanted: str, schema: Json, place: str) -> None:
        found = self.document
        for part in wanted.removeprefix("#/").split("/"):
            found = found[part]
        self.hold(value, found, place)

    def _hold_type(self, value: Json, wanted: str | list[str], schema: Json, place: str) -> None:
        names = [wanted] if isinstance(wanted, str) else wanted
        assert any(_TYPES[name](value) for name in names), f"{place} is not {wanted}"

    def _hold_properties(self, value: Json, wanted: Json, schema: Json, place: str) -> None:
        for name, inner in wanted.items():
            if isinstance(value, dict) and name in value:
                self.hold(value[name], inner, f"{place}/{name}")

    def _hold_required(self, value: Json, wanted: list[str], schema: Json, place: str) -> None:
        missing = set(wanted) - set(value) if isinstance(value, dict) else set()
        assert not missing, f"{place} lacks {sorted(missing)}"

    def _hold_additionalProperties(  # noqa: N802  (the keyword's own spelling)
        self, value: Json, wanted: Json, schema: Json, place: str
    ) -> None:
        if not isinstance(value, dict):
            return
        others = set(value) - set(schema.get("properties", {}))
        if wanted is False:
            assert not others, f"{place} has {sorted(others)}"
        elif wanted is not True:
            for name in others:
                self.hold(value[name], wanted, f"{place}/{name}")

    def _hold_items(self, value: Json, wanted: Json, schema: Json, place: str) -> None:
        for index, member in enumerate(value if isinstance(value, list) else []):
            self.hold(member, wanted, f"{place}/{index}")

    def _hold_anyOf(  # noqa: N802  (the keyword's own spelling)
        self, value: Json, wanted: list[Json], schema: Json, place: str
    ) -> None:
        faults = []
        for one in wanted:
            try:
                self.hold(value, one, place)
            except AssertionError as fault:
                faults.append(str(fault))
            else:
                return
        raise AssertionError(f"{place} is none of what may be there: {faults}")

    def _hold_enum(self, value: Json, wanted: list[Json], schema: Json, place: str) -> None:
        assert value in wanted, f"{place} is none of {wanted}"

    def _hold_const(self, value: Json, wanted: Json, schema: Json, place: str) -> None:
        assert value == wanted, f"{place} is not {wanted}"

    def _hold_format(self, value: Json, wanted: str, schema: Json, place: str) -> None:
        assert wanted == "date-time", f"{place}: the checker does not know the format {wanted}"
        assert _INSTANT.fullmatch(value), f"{place} is no time in UTC"

    def _operation(self, method: str, path: str) -> Json | None:
        for pattern, operations in self._routes:
            if pattern.fullmatch(path):
                return operations.get(method)
        return None


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{\w+\}", path)
    return re.compile("[^/]+".join(re.escape(part) for part in parts))


def _declared(operation: Json, status: int) -> Json | None:
    responses = operation["responses"]
    return responses.get(str(status)) or responses.get(f"{status // 100}XX")
