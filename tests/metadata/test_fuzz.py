"""The parts that read guests' bytes, with a corpus of what was interesting so far.

`script/bench metadata --fuzz N` runs many more.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metadata.mutations import corpus, mutated
from tests.metadata.targets import TARGETS

_CASES = {"dhcp": 3000, "http": 400, "control": 3000}
_EVERY = sorted(TARGETS)


@pytest.mark.parametrize("name", _EVERY)
def test_nothing_in_the_corpus_does_harm(name):
    for data in corpus(name):
        TARGETS[name](data)


@pytest.mark.parametrize("name", _EVERY)
def test_nothing_like_it_does_either(name):
    known, chance = corpus(name), random.Random(7)
    for _ in range(_CASES[name]):
        TARGETS[name](mutated(known, chance))


@pytest.mark.parametrize("name", _EVERY)
@settings(deadline=None, max_examples=150)
@given(data=st.binary(max_size=1500))
def test_nor_do_bytes_of_any_kind(name, data):
    TARGETS[name](data)


@settings(deadline=None, max_examples=200)
@given(
    line=st.tuples(
        st.sampled_from(["GET", "HEAD", "POST", "PUT", "PROPFIND", "gEt", ""]),
        st.text(max_size=60).map(lambda path: f"/{path}"),
        st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", ""]),
    ),
    headers=st.lists(st.tuples(st.text(max_size=20), st.text(max_size=40)), max_size=5),
    body=st.binary(max_size=200),
)
def test_nor_do_requests_with_odd_words(line, headers, body):
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = f"{' '.join(line)}\r\nHost: x\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
    TARGETS["http"](head.encode("utf-8", "surrogatepass") + body)
