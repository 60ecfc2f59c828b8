"""The runtime: what is declared wins; what is inferred does not hang on versions or hosts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.error import RequestInvalid
from keyturn.domain.network import parse_address
from keyturn.domain.runtime import NamedNetwork, Runtime, check_runtime, identify_runtime
from tests.domain.samples import sample_token

NETWORKS = (
    NamedNetwork(name="office", cidrs=("192.0.2.0/24", "2001:db8::/32")),
    NamedNetwork(name="cluster", cidrs=("10.0.0.0/8",)),
    NamedNetwork(name="all-ten", cidrs=("10.0.0.0/7",)),
)


def inferred(user_agent: str | None) -> str:
    found = identify_runtime(None, user_agent, None, ())
    assert not found.declared
    return found.name


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("curl/8.5.0", "ua:curl"),
        ("curl", "ua:curl"),
        ("python-requests/2.32.3", "ua:python-requests"),
        ("Go-http-client/2.0", "ua:Go-http-client"),
        ("okhttp/4.12.0", "ua:okhttp"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "ua:Mozilla"),
        ("scheduler-1.4.2", "ua:scheduler"),
        ("scheduler-v1.4.2", "ua:scheduler"),
        ("scheduler_2", "ua:scheduler"),
        ("scheduler.2025.11.22", "ua:scheduler"),
        ("scheduler-1.4.2-beta1+build.7", "ua:scheduler"),
        ("scheduler-1.4.2.dev3", "ua:scheduler"),
        ("python3.11", "ua:python"),
        ("  curl/8 ", "ua:curl"),
        ("1.2.3", "ua:unknown"),
        ("", "ua:unknown"),
        (None, "ua:unknown"),
        ("(comment)", "ua:unknown"),
        ("\u0661", "ua:unknown"),
        ("a~b!c/1", "ua:a-b-c"),
        ("x" * 100, "ua:" + "x" * 64),
    ],
)
def test_a_user_agent_is_its_product_without_its_version(user_agent: str | None, name: str) -> None:
    assert inferred(user_agent) == name


@given(
    st.from_regex(r"[A-Za-z][A-Za-z-]{0,20}[A-Za-z]", fullmatch=True).filter(
        lambda p: p[-1] not in "vV"
    ),
    st.sampled_from(["/", "-", "_", ".", "/v", "-v"]),
    st.lists(st.integers(0, 9999), min_size=1, max_size=4),
    st.lists(st.integers(0, 9999), min_size=1, max_size=4),
)
def test_a_release_of_the_caller_is_no_other_runtime(
    product: str, separator: str, old: list[int], new: list[int]
) -> None:
    first, second = (product + separator + ".".join(map(str, v)) for v in (old, new))
    assert inferred(first) == inferred(second) == f"ua:{product}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("oauth2-proxy/7.6", "oauth2-client/7.6"),
        ("s3-sync/1.0", "s3-backup/1.0"),
        ("tier-2-worker", "tier-2-batch"),
        ("api-v2-client", "api-v2-worker"),
        ("http2-probe", "http2-load"),
    ],
)
def test_two_products_with_a_number_within_their_names_are_two_runtimes(
    one: str, other: str
) -> None:
    """Taken for one, the evidence of the first would retire the key of the second."""
    assert inferred(one) != inferred(other)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.7", "ua:curl@office"),
        ("::ffff:192.0.2.7", "ua:curl@office"),
        ("2001:db8::1", "ua:curl@office"),
        ("10.1.2.3", "ua:curl@cluster"),  # the first that holds it
        ("11.1.2.3", "ua:curl@all-ten"),
        ("198.51.100.1", "ua:curl"),
    ],
)
def test_the_name_of_the_network_stands_behind_the_product(address: str, name: str) -> None:
    assert identify_runtime(None, "curl/8", parse_address(address), NETWORKS).name == name


def test_without_an_address_there_is_no_network() -> None:
    assert identify_runtime(None, "curl/8", None, NETWORKS).name == "ua:curl"


@given(st.from_regex(r"[A-Za-z0-9._:/@-]{1,128}", fullmatch=True), st.text(max_size=20))
def test_what_is_declared_wins(declared: str, user_agent: str) -> None:
    address = parse_address("10.1.2.3")
    found = identify_runtime(declared, user_agent, address, NETWORKS)
    assert found == Runtime(declared, declared=True)


@given(st.text(max_size=200))
def test_an_inferred_name_can_be_written_anywhere(user_agent: str) -> None:
    name = inferred(user_agent).removeprefix("ua:")
    assert name.isascii()
    assert 1 <= len(name) <= 64
    assert all(letter.isalnum() or letter in "._-" for letter in name)


@pytest.mark.parametrize("name", ["worker", "a", "A.b_c:d/e@f-1", "x" * 128, "ua:curl"])
def test_a_runtime_may_be_declared_so(name: str) -> None:
    assert check_runtime(name, "/runtime") == name


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a\n", "é", "\u0661", "a,b", "a?b", "x" * 129, "a\0", "\u202e"]
)
def test_a_runtime_may_not_be_declared_so(name: str) -> None:
    with pytest.raises(RequestInvalid, match="A runtime has"):
        check_runtime(name, "/runtime")


def test_a_token_is_no_runtime() -> None:
    with pytest.raises(RequestInvalid, match="token stands here"):
        check_runtime(f"worker:{sample_token().reveal()}", "/runtime")
