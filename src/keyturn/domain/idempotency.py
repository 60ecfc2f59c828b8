"""Idempotency keys: how a caller names a call, to send it again without its being done again."""

import re

# What a header's value can be, without blanks: printable ASCII.
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
