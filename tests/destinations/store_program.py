"""A program as an operator might write one: it keeps values in a file. Run by `test_command`."""

import fcntl
import json
import sys
from pathlib import Path


def main() -> int:
    asked = json.load(sys.stdin)
    path = Path(sys.argv[1])
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        kept = json.loads(file.read() or '{"count": 0, "values": {}}')
        found = kept["values"].get(asked["slot"])
        if asked["action"] == "read":
            told = {"value": None} if found is None else found
        else:
            if (None if found is None else found["version"]) != asked["expected"]:
                return 9
            kept["count"] += 1
            told = {"version": str(kept["count"])}
            kept["values"][asked["slot"]] = {"value": asked["value"], **told}
            file.seek(0)
            file.truncate()
            file.write(json.dumps(kept))
    print(json.dumps(told))
    print("words-of-the-other-side", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
