"""An API server of Kubernetes for the tests, as far as secrets go: faithful in what it refuses.

1. Each change of anything takes the next resource version of the whole cluster (as etcd counts).
   A change that names another version than stands is refused with 409.
2. An answer without success is a `Status` object with a reason, as the real one's.
3. Data must be base64, a name a DNS name; an immutable object takes no other data.
4. A token has the verbs that it was given. An unknown one is 401, a verb it lacks 403.
"""

import base64
import binascii
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.servers.answering import Call, Reply, answering

ALL_VERBS = frozenset({"get", "create", "patch"})
_PATH = re.compile(r"/api/v1/namespaces/([^/]+)/secrets(?:/([^/]+))?")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_VERBS = {"GET": "get", "POST": "create", "PATCH": "patch"}

Object = dict[str, object]


class _Refusal(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(slots=True)
class Cluster:
    """What is in it, as its owner sees it."""

    namespaces: set[str] = field(default_factory=lambda: {"default"})
    tokens: dict[str, frozenset[str]] = field(default_factory=dict)
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1_000))

    def answer(self, call: Call) -> Reply:
        try:
            return self._answer(call)
        except _Refusal as refusal:
            return Reply(
                status=refusal.code,
                members={
                    "kind": "Status",
                    "apiVersion": "v1",
                    "status": "Failure",
                    "reason": refusal.reason,
                    "message": "words-of-the-other-side",
                    "code": refusal.code,
                },
            )

    def store(self, namespace: str, name: str, made: Object) -> Object:
        """Puts an object there, as whoever may do anything."""
        metadata = dict(_object(made.get("metadata")))
        metadata |= {
            "name": name,
            "namespace": namespace,
            "resourceVersion": str(next(self._versions)),
        }
        whole = {"kind": "Secret", "apiVersion": "v1", "type": "Opaque", **made}
        self.objects[namespace, name] = {**whole, "metadata": metadata}
        return self.objects[namespace, name]

    def _answer(self, call: Call) -> Reply:
        verbs = self.tokens.get(call.headers.get("authorization", "").removeprefix("Bearer "))
        if verbs is None:
            raise _Refusal(401, "Unauthorized")
        match = _PATH.fullmatch(call.path)
        if match is None or call.method not in _VERBS:
            raise _Refusal(404, "NotFound")
        if _VERBS[call.method] not in verbs:
            raise _Refusal(403, "Forbidden")
        namespace, name = match[1], match[2]
        if call.method == "POST" and name is None:
            return self._create(namespace, call)
        found = self.objects.get((namespace, name or ""))
        if found is None:
            raise _Refusal(404, "NotFound")
        if call.method == "PATCH":
            return Reply(members=self._patch(namespace, name, found, call))
        return Reply(members=found)

    def _create(self, namespace: str, call: Call) -> Reply:
        _expect(call.headers.get("content-type") == "application/json", 415)
        made = call.members()
        metadata = _object(made.get("metadata"))
        name = metadata.get("name")
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise _Refusal(422, "Invalid")
        _expect(made.get("kind") == "Secret" and made.get("apiVersion") == "v1", 400)
        _expect("resourceVersion" not in metadata, 500)
        if namespace not in self.namespaces:
            raise _Refusal(404, "NotFound")
        if (namespace, name) in self.objects:
            raise _Refusal(409, "AlreadyExists")
        _check_data(made)
        return Reply(status=201, members=self.store(namespace, name, made))

    def _patch(self, namespace: str, name: str, found: Object, call: Call) -> Object:
        _expect(call.headers.get("content-type") == "application/merge-patch+json", 415)
        patch = call.members()
        asked = _object(patch.get("metadata")).get("resourceVersion")
        if asked not in (None, _object(found["metadata"])["resourceVersion"]):
            raise _Refusal(409, "Conflict")
        merged = _merged(found, patch)
        assert isinstance(merged, dict)
        if found.get("immutable") is True and merged.get("data") != found.get("data"):
            raise _Refusal(422, "Invalid")
        _check_data(merged)
        if merged == found:
            return found  # the real one makes no version of no change either
        return self.store(namespace, name, merged)


def _expect(holds: bool, code: int) -> None:
    if not holds:
        raise _Refusal(code, "BadRequest")


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _check_data(made: Object) -> None:
    for value in _object(made.get("data")).values():
        try:
            base64.b64decode(str(value), validate=True)
        except binascii.Error:
            raise _Refusal(400, "BadRequest") from None


def _merged(target: object, patch: object) -> object:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(_object(target))
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return json.loads(json.dumps(merged))


@contextmanager
def run_cluster(cluster: Cluster) -> Iterator[int]:
    """The port where it answers."""
    with answering(cluster.answer) as port:
        yield port
