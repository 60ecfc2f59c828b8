"""`If-Match`: exactly the versions that were read, and nothing that only looks like one.
`If-None-Match`: none at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.error import RequestMalformed
from keyturn.http.answer import etag
from keyturn.http.precondition import expected_versions, join_lines, may_change


@given(st.lists(st.integers(1, 2**53), min_size=1, max_size=5))
def test_the_tags_that_were_answered_are_the_versions_expected(versions: list[int]) -> None:
    assert expected_versions(", ".join(map(etag, versions))) == frozenset(versions)
    assert expected_versions(",".join(map(etag, versions))) == frozenset(versions)


@pytest.mark.parametrize("header", [None, "*", " * "])
def test_no_header_and_a_star_take_any_version(header: str | None) -> None:
    assert expected_versions(header) is None


@pytest.mark.parametrize(
    "header",
    ['W/"3"', '""', '"03"', '"+3"', '"3 "'.replace(" ", "!"), '"x"', '"-1"', '"0"', f'"{9**30}"'],
)
def test_a_tag_that_we_never_gave_matches_nothing(header: str) -> None:
    assert expected_versions(header) == frozenset()


@pytest.mark.parametrize(
    "header", ['W/"1", "2", "other"', '"2",', ', ,"2"', '"a,b" , "2"', '"1,", "2"', '"é","2"']
)
def test_a_good_tag_counts_among_others(header: str) -> None:
    assert expected_versions(header) == frozenset({2})


@pytest.mark.parametrize(
    "header", ["", ",", "3", '"3', '3"', "'3'", '"1" "2"', '*, "1"', 'w/"1"', '"a b"', '"\u0100"']
)
def test_what_is_no_list_of_tags_is_refused(header: str) -> None:
    with pytest.raises(RequestMalformed, match="If-Match takes ETags"):
        expected_versions(header)


@given(st.text(max_size=60))
def test_any_header_is_read_or_refused(header: str) -> None:
    try:
        versions = expected_versions(header)
    except RequestMalformed:
        return
    assert versions is None or all(version > 0 for version in versions)


def test_a_star_in_if_none_match_changes_nothing_that_there_is() -> None:
    assert may_change(None)
    assert not may_change(" * ")


@pytest.mark.parametrize("header", ["", '"1"', "**", '*, "1"'])
def test_another_if_none_match_is_malformed(header: str) -> None:
    with pytest.raises(RequestMalformed, match="If-None-Match"):
        may_change(header)


def test_the_lines_of_a_precondition_are_one_list_and_others_stay_as_they_are() -> None:
    others = [(b"host", b"a"), (b"x-more", b"1"), (b"x-more", b"2")]
    assert join_lines(others) == others
    spread = [(b"if-match", b'"1"'), *others, (b"if-none-match", b"*"), (b"if-match", b'"2"')]
    assert join_lines(spread) == [
        *others,
        (b"if-match", b'"1", "2"'),
        (b"if-none-match", b"*"),
    ]
