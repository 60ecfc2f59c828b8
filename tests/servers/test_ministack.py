import os
import socket
import urllib.request
from pathlib import Path

import pytest

from tests.servers.ministack import MinistackUnavailable, refuse_strangers, run_ministack


def test_the_emulation_of_aws_listens_where_it_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    try:
        with run_ministack(tmp_path) as port:
            url = f"http://127.0.0.1:{port}/_ministack/health"
            with urllib.request.urlopen(url, timeout=5) as answer:
                assert answer.status == 200
    except MinistackUnavailable as refusal:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"NOT TESTED ON AWS: {refusal}")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="asks Linux")
def test_a_start_that_listens_elsewhere_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        refuse_strangers(os.getpid())
    with (
        socket.create_server(("127.0.0.2", 0)),  # stands for an address that others reach
        pytest.raises(MinistackUnavailable),
    ):
        refuse_strangers(os.getpid())
