"""How far what a call took away is effective, as its answer's headers tell."""

from datetime import datetime

from keyturn.client.call import Answer
from keyturn.client.resources import Effect

_PENDING = 202


def effect_of(answer: Answer) -> Effect:
    """The effect that an answer tells."""
    propagation = answer.headers.get("keyturn-propagation")
    is_told = propagation is not None and propagation.partition(";")[0].strip() == "complete"
    return Effect(
        is_complete=answer.status != _PENDING or is_told,
        propagation=propagation,
        effective_by=_instant(answer.headers.get("keyturn-effective-by", "")),
        incident_id=answer.headers.get("keyturn-incident"),
    )


def _instant(text: str) -> datetime | None:
    """The time that a header tells, None where it tells none that can be placed."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.utcoffset() is None else moment
