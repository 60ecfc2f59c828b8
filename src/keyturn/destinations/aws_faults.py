"""What an error code of AWS means for a destination, in sentences of ours."""

from keyturn.destinations.contract import DestinationFault, FaultKind

_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_THROTTLED = frozenset(
    {
        "LimitExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_KEYS = frozenset({"DecryptionFailure", "EncryptionFailure"})


def fault_of(code: str, status: int) -> DestinationFault:
    """The fault for an error that the step before has not expected."""
    if code in _DENIED:
        return DestinationFault(
            FaultKind.DENIED, "AWS denies this: the credential is not valid, or may not do it."
        )
    if code in _THROTTLED or status == 429:
        return DestinationFault(FaultKind.BROKEN, "AWS asks to be called less often.")
    if code in _KEYS:
        return DestinationFault(
            FaultKind.BROKEN, "AWS could not use the KMS key that encrypts the secret."
        )
    if code == "InvalidRequestException":
        return DestinationFault(
            FaultKind.MISSING,
            "AWS does not let the secret be used as it is; most often it is scheduled for"
            " deletion: restore it in AWS, or choose another name.",
        )
    if code == "ResourceNotFoundException":
        return DestinationFault(FaultKind.CONFLICT, "The secret was deleted meanwhile.")
    if code == "ResourceExistsException":
        return DestinationFault(FaultKind.CONFLICT, "Somebody else wrote the secret meanwhile.")
    return _by_status(status)


def _by_status(status: int) -> DestinationFault:
    if status in {401, 403}:
        return DestinationFault(
            FaultKind.DENIED, "AWS denies this: the credential is not valid, or may not do it."
        )
    if status >= 500:
        return DestinationFault(FaultKind.BROKEN, "AWS has answered that it failed.")
    return DestinationFault(
        FaultKind.NOT_UNDERSTOOD, "AWS has refused the request for a reason that is not known here."
    )
