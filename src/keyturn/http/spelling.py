"""How texts are spelled, as the OpenAPI document tells it: patterns, formats, bounds.

These only tell. The domain judges, in its own words; what it refuses and JSON Schema can say stands
here, so that a client, or a generator of calls, knows beforehand. `tests/fuzz` holds the two
together: a text that the document allows is accepted, one that it forbids is refused.
"""

from typing import Annotated

from pydantic import Field, WithJsonSchema

from keyturn.domain.destination import KINDS, MOST_OF_A_SLOT
from keyturn.domain.event import PATTERNS
from keyturn.domain.permission import Permission
from keyturn.domain.rotation import LONGEST_BROWNOUT_SECONDS, LONGEST_SECONDS
from keyturn.domain.scope import LONGEST as LONGEST_SCOPE
from keyturn.domain.slot import LONGEST_PERIOD_DAYS
from keyturn.domain.text import NAME_LENGTH, TEXT_LENGTH, URL_LENGTH

Keywords = dict[str, object]

# What `keyturn.domain.text` forbids, but for half surrogate pairs, and what it strips. `\s` is
# another set in JSON Schema than in Python, so each character is named.
_CONTROLS = r"\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069"
_SPACES = r"\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_SEEN = f"[^{_CONTROLS}{_SPACES}]"
_TEXT = f"^[{_SPACES}]*{_SEEN}(?:[^{_CONTROLS}]*{_SEEN})?[{_SPACES}]*$"
_HOST = r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])"
_URL = rf"^[{_SPACES}]*https?://{_HOST}(?::[0-9]*)?(?:[/?#]{_SEEN}*)?[{_SPACES}]*$"

_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_MAIL = rf"^{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)*{_LABEL}$"

_SCOPE_PART = "[A-Za-z0-9][A-Za-z0-9._/-]*"
_SERVICE = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_WHOLE = (Permission.ADMIN, Permission.ACTIVITY_READ)
_NARROWED = "|".join(one for one in Permission if one not in _WHOLE)
_SLOTS = r"(?:[a-z0-9][a-z0-9-]{0,80}\*?|\*)"

RUNTIME: Keywords = {"pattern": "^[A-Za-z0-9._:/@-]{1,128}$", "maxLength": 128}
SCOPE: Keywords = {
    "pattern": rf"^(?:\*|{_SCOPE_PART}(?::{_SCOPE_PART})*(?::\*)?)$",
    "maxLength": LONGEST_SCOPE,
}
ID: Keywords = {
    "pattern": "^(?:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-7][0-9A-Za-z]{21})$"
}
# No pattern tells an address; the names of these two formats are our own.
ADDRESS: Keywords = {"format": "ip", "maxLength": 64}
# Anything is taken; this is what is meant.
HEADERS: Keywords = {
    "description": "The headers of the request, an object of texts. Origin, Sec-Fetch-Site, "
    "Sec-Fetch-Dest and User-Agent are looked at, the rest is ignored.",
    "examples": [{"Origin": "https://pins.example"}],
}
POSITION: Keywords = {"pattern": "^[0-9]{1,18}$", "maxLength": 18}
NETWORK: Keywords = {"format": "cidr", "maxLength": 64}


def _told(keywords: Keywords) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **keywords})


Name = Annotated[str, _told({"pattern": _TEXT, "maxLength": NAME_LENGTH})]
Text = Annotated[str, _told({"pattern": _TEXT, "maxLength": TEXT_LENGTH})]
Url = Annotated[str, _told({"pattern": _URL, "maxLength": URL_LENGTH})]
Service = Annotated[str, _told({"pattern": f"^{_SERVICE}$"})]
Environment = Annotated[str, _told({"pattern": "^[a-z0-9]{1,16}$"})]
SlotSpelling = Annotated[str, _told({"pattern": f"^{_SERVICE}-[a-z0-9]{{1,16}}$"})]
DestinationName = Annotated[str, _told({"pattern": f"^{_SERVICE}$"})]
# Each once: two deliveries into one place would be one too many.
DestinationNames = Annotated[
    list[DestinationName],
    Field(max_length=MOST_OF_A_SLOT, json_schema_extra={"uniqueItems": True}),
]
DestinationKindName = Annotated[str, _told({"enum": list(KINDS)})]
RuntimeName = Annotated[str, _told(RUNTIME)]
ScopeWord = Annotated[str, _told(SCOPE)]
PermissionWord = Annotated[
    str, _told({"pattern": f"^(?:{'|'.join(_WHOLE)}|(?:{_NARROWED})(?:@{_SLOTS})?)$"})
]
Id = Annotated[str, _told(ID)]
MailAddress = Annotated[str, _told({"pattern": _MAIL, "maxLength": 254})]
EventPattern = Annotated[str, _told({"enum": list(PATTERNS)})]
NetworkBlock = Annotated[str, _told(NETWORK)]
AddressOrBlock = Annotated[str, _told(NETWORK)]
Cursor = Annotated[str, _told({"pattern": "^[A-Za-z0-9_-]+$", "maxLength": 512})]
# What a list is filtered by: any text that could have been kept.
Sought = Annotated[str, _told({"pattern": f"^[^{_CONTROLS}]*$"})]
_TAG = r'(?:W/)?"[!#-~]*"'
Tags = Annotated[
    str,
    _told({"pattern": rf"^(?:\*|{_TAG}(?: *, *{_TAG})*)$", "examples": ["*", '"3"']}),
]
Star = Annotated[str, _told({"pattern": r"^\*$", "examples": ["*"]})]
OnceKey = Annotated[str, _told({"pattern": "^[!-~]{1,255}$", "maxLength": 255})]
Overlap = Annotated[int, Field(ge=1, le=LONGEST_SECONDS)]
Quiet = Annotated[int, Field(ge=0, le=LONGEST_SECONDS)]
BrownoutLength = Annotated[int, Field(ge=0, le=LONGEST_BROWNOUT_SECONDS)]
Lookback = Annotated[int, Field(ge=0, le=10 * LONGEST_SECONDS)]
PeriodDays = Annotated[
    int, WithJsonSchema({"type": "integer", "minimum": 1, "maximum": LONGEST_PERIOD_DAYS})
]
