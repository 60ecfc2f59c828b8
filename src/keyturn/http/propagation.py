"""`Keyturn-Propagation`: where a change is effective by the time it is answered."""

from keyturn.http.call import Call


def propagation(call: Call, started: float) -> dict[str, str]:
    """The header of a change that began at `started` (of the clock's `elapsed`).

    One process serves one database, and every verification reads it: a change is effective
    everywhere once it is committed.
    """
    took_ms = round((call.context.clock.elapsed() - started) * 1_000)
    return {"Keyturn-Propagation": f"complete; nodes=1; ms={took_ms}"}
