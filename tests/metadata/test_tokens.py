"""IMDSv2's tokens: known again by the NIC that gave them, for their time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metadata.tokens import TokenMint, seconds_asked


def test_a_token_is_good_for_its_time_and_no_longer():
    mint = TokenMint()
    token = mint.token(seconds=60, now=1000.0)
    assert mint.accepts(token, now=1059.9)
    assert not mint.accepts(token, now=1060.0)


def test_a_token_of_another_nic_is_unknown():
    assert not TokenMint().accepts(TokenMint().token(seconds=60, now=0.0), now=1.0)


def test_a_token_cannot_be_made_to_last_longer():
    mint = TokenMint()
    short, long = (mint.token(seconds=seconds, now=0.0) for seconds in (1, 1000))
    assert not mint.accepts(long[:11] + short[11:], now=2.0)


@given(st.one_of(st.text(max_size=200), st.from_regex(r"\A[A-Za-z0-9_-]{40,60}={0,2}\Z")))
def test_what_is_no_token_is_unknown(token):
    assert not TokenMint().accepts(token, now=0.0)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("1", 1), ("21600", 21600), ("0", None), ("21601", None), ("", None), ("٣", None)],
)
def test_a_time_is_what_aws_would_take(asked, seconds):
    assert seconds_asked(asked) == seconds
