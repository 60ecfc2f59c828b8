"""A delivery in words. Pure."""

from keyturn.client.delivery_records import Delivery


def delivery_line(one: Delivery) -> str:
    """A delivery in one line, without figures that change by themselves."""
    held = "" if one.fault is None else f", {one.fault.detail}"
    kind = "" if one.fault is None or one.fault.kind is None else f" ({one.fault.kind})"
    return f"{one.destination}: {one.state}{held}{kind}"
