"""Logs: one JSON object a line on standard error, with every secret taken out."""

import asyncio
import json
import logging
import sys

from keyturn.domain.instant import format_instant
from keyturn.domain.redaction import redact

_EXTRA = ("method", "path", "status", "ms", "request_id")


class JsonFormatter(logging.Formatter):
    """One line an event. JSON escapes what could forge another line; redaction comes last."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "at": format_instant(int(record.created * 1_000_000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        event |= {name: getattr(record, name) for name in _EXTRA if hasattr(record, name)}
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return redact(json.dumps(event, ensure_ascii=True, default=str))


class CutOff(logging.Filter):
    """Says in a line what the HTTP server tells by a stack: a request did not end in time."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            record.msg, record.args, record.exc_info = "a request was cut off by the end", (), None
        return True


def configure_logs(level: int = logging.INFO) -> None:
    """Sends everything to standard error. The framework's own access log stays off."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("keyturn").setLevel(level)
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").addFilter(CutOff())
