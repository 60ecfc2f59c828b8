"""`/v1/staff-changes`: somebody has left, and what that person knew is rotated."""

from keyturn.client.call import Call, body, reading
from keyturn.client.rotation_records import StaffChange

_staff_change = reading(StaffChange)


def report_staff_change(person: str, *, rotate: bool | None = None) -> Call[StaffChange]:
    """The keys that the person owned, made or was shown. With `rotate`, a rotation is begun for
    each one that is active (or joined), and the new tokens are answered this once."""
    return Call(
        method="POST",
        path="/v1/staff-changes",
        content=body(person=person, rotate=rotate),
        read=_staff_change,
    )
