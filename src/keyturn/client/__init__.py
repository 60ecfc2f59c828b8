"""The client: what a program of yours calls Keyturn with.

    from keyturn import Keyturn

    with Keyturn("https://keys.example.com", api_key_file="/run/secrets/keyturn") as keyturn:
        made = keyturn.keys.create("scheduler-prod", scopes=["read"])
        verdict = keyturn.verify(presented, scopes=["read"])

`AsyncKeyturn` has the same operations, awaited. Both are loaded when they are asked for, and the
HTTP library with them: the command line knows the errors without it.
"""

from typing import TYPE_CHECKING

from keyturn.client.attempts import NO_RETRY, RetryPolicy
from keyturn.client.binding import AsyncPages, Pages
from keyturn.client.call import Page
from keyturn.client.channel_records import (
    Attempt,
    Channel,
    ChannelSecret,
    MadeChannel,
    Message,
    Replayed,
)
from keyturn.client.delivery_records import Delivery, DeliveryFault, Destination
from keyturn.client.errors import (
    ApiError,
    ClientClosed,
    ConfigurationFault,
    Conflict,
    Denied,
    EvidenceMissing,
    Forbidden,
    Invalid,
    InvalidValue,
    KeysOpen,
    KeyturnClientError,
    NotFound,
    NotUnderstood,
    RollbackUnsafe,
    SecretLost,
    SelectionMoved,
    SourceFault,
    TokenDelivered,
    TokenLost,
    Unauthenticated,
    Unavailable,
    Unreachable,
    VersionMoved,
)
from keyturn.client.incident_records import (
    ElsewhereKey,
    Incident,
    IncidentKey,
    IncidentRuntime,
    IncidentSeconds,
    KeySelection,
    KeyWaiver,
    ListedIncident,
    OpenedIncident,
    Placement,
    Replacement,
    Replacements,
    SelectedKey,
    Selection,
    UnreachedKey,
    Waived,
)
from keyturn.client.incident_report import (
    IncidentReport,
    ReportAttempt,
    ReportEvent,
    ReportIndistinguishable,
    ReportLookalike,
    ReportNetwork,
    ReportPath,
    ReportRuntime,
    ReportTotals,
    ReportUnlike,
    ReportValue,
    ReportWindow,
)
from keyturn.client.key_source import KeySource
from keyturn.client.record import Blocker, NamedKey
from keyturn.client.resources import (
    About,
    Activity,
    Deprecation,
    Effect,
    ExpectedRuntime,
    Health,
    IssuedKey,
    IssuedWorkspace,
    Key,
    MaintenanceWindow,
    NamedNetwork,
    Node,
    Operator,
    Propagation,
    Readiness,
    RecordedRequest,
    RotationNotice,
    RotationPolicy,
    Self,
    Slot,
    Usage,
    UsageBucket,
    UsageRuntime,
    UsageTotals,
    Verdict,
    VerifiedKey,
    Workspace,
)
from keyturn.client.rotation_records import (
    Finding,
    FindingSubject,
    Impact,
    ImpactRuntime,
    Rotation,
    RuntimeDecision,
    RuntimeEvidence,
    StaffChange,
    StaffKey,
    StartedRotation,
    Waiver,
)
from keyturn.domain.signing_secret import WebhookSecret
from keyturn.domain.token import Token

if TYPE_CHECKING:
    from keyturn.client.asynchronous import AsyncKeyturn
    from keyturn.client.blocking import Keyturn
else:

    def __getattr__(name: str) -> object:
        match name:
            case "Keyturn":
                from keyturn.client import blocking as home
            case "AsyncKeyturn":
                from keyturn.client import asynchronous as home
            case _:
                raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(home, name)


__all__ = [
    "NO_RETRY",
    "About",
    "Activity",
    "ApiError",
    "AsyncKeyturn",
    "AsyncPages",
    "Attempt",
    "Blocker",
    "Channel",
    "ChannelSecret",
    "ClientClosed",
    "ConfigurationFault",
    "Conflict",
    "Delivery",
    "DeliveryFault",
    "Denied",
    "Deprecation",
    "Destination",
    "Effect",
    "ElsewhereKey",
    "EvidenceMissing",
    "ExpectedRuntime",
    "Finding",
    "FindingSubject",
    "Forbidden",
    "Health",
    "Impact",
    "ImpactRuntime",
    "Incident",
    "IncidentKey",
    "IncidentReport",
    "IncidentRuntime",
    "IncidentSeconds",
    "Invalid",
    "InvalidValue",
    "IssuedKey",
    "IssuedWorkspace",
    "Key",
    "KeySelection",
    "KeySource",
    "KeyWaiver",
    "KeysOpen",
    "Keyturn",
    "KeyturnClientError",
    "ListedIncident",
    "MadeChannel",
    "MaintenanceWindow",
    "Message",
    "NamedKey",
    "NamedNetwork",
    "Node",
    "NotFound",
    "NotUnderstood",
    "OpenedIncident",
    "Operator",
    "Page",
    "Pages",
    "Placement",
    "Propagation",
    "Readiness",
    "RecordedRequest",
    "Replacement",
    "Replacements",
    "Replayed",
    "ReportAttempt",
    "ReportEvent",
    "ReportIndistinguishable",
    "ReportLookalike",
    "ReportNetwork",
    "ReportPath",
    "ReportRuntime",
    "ReportTotals",
    "ReportUnlike",
    "ReportValue",
    "ReportWindow",
    "RetryPolicy",
    "RollbackUnsafe",
    "Rotation",
    "RotationNotice",
    "RotationPolicy",
    "RuntimeDecision",
    "RuntimeEvidence",
    "SecretLost",
    "SelectedKey",
    "Selection",
    "SelectionMoved",
    "Self",
    "Slot",
    "SourceFault",
    "StaffChange",
    "StaffKey",
    "StartedRotation",
    "Token",
    "TokenDelivered",
    "TokenLost",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
    "UnreachedKey",
    "Usage",
    "UsageBucket",
    "UsageRuntime",
    "UsageTotals",
    "Verdict",
    "VerifiedKey",
    "VersionMoved",
    "Waived",
    "Waiver",
    "WebhookSecret",
    "Workspace",
]
