"""What a refusal of Azure Key Vault means for a destination, in sentences of ours."""

from keyturn.destinations.contract import DestinationFault, FaultKind

_DELETED = frozenset(
    {"ObjectIsBeingDeleted", "ObjectIsBeingRecovered", "ObjectIsDeletedButRecoverable"}
)


def not_understood() -> DestinationFault:
    return DestinationFault(
        FaultKind.NOT_UNDERSTOOD, "What answers does not speak as Azure Key Vault does."
    )


def fault_of(status: int, code: str) -> DestinationFault:
    if code in _DELETED:
        return DestinationFault(
            FaultKind.MISSING,
            "The name is held by a deleted secret: recover or purge it in the vault, or choose"
            " another name.",
        )
    if status in {401, 403}:
        return DestinationFault(
            FaultKind.DENIED,
            "Azure denies this: the client's secret is not valid, or it may not do it.",
        )
    if status == 429:
        return DestinationFault(FaultKind.BROKEN, "Azure asks to be called less often.")
    if status == 409:
        return DestinationFault(FaultKind.CONFLICT, "Somebody else wrote the secret meanwhile.")
    if status >= 500:
        return DestinationFault(FaultKind.BROKEN, "Azure has answered that it failed.")
    return not_understood()
