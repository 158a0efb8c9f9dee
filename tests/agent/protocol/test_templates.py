"""Variables in user-data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.templates import UnknownVariableError, fill_in, variables_in

VARIABLES = {"ip": "10.1.2.3", "site.name": "Head office"}


def test_a_variable_becomes_its_value():
    assert fill_in("echo {{ ip }} at {{site.name}}", VARIABLES) == "echo 10.1.2.3 at Head office"


def test_a_variable_that_there_is_not_is_named():
    with pytest.raises(UnknownVariableError) as refusal:
        fill_in("{{ ip }} {{ gatewy }}", VARIABLES)
    assert refusal.value.name == "gatewy"


def test_a_backslash_keeps_the_braces():
    assert fill_in(r"awk '\{{ print }}' {{ ip }}", VARIABLES) == "awk '{{ print }}' 10.1.2.3"


@pytest.mark.parametrize("text", ["{{ }}", "{{ a b }}", "{{ ip|upper }}", "{% if ip %}", "{ ip }"])
def test_what_is_no_variable_stays_as_it_is(text):
    assert fill_in(text, VARIABLES) == text
    assert variables_in(text) == []


def test_a_template_of_cloud_init_is_left_to_it():
    text = "## template: jinja\n#cloud-config\nfqdn: {{ v1.local_hostname }}\n"
    assert fill_in(text, {}) == text
    assert variables_in(text) == []


def test_names_are_told_once_in_their_order():
    assert variables_in("{{ b }} {{ a }} {{ b }} \\{{ c }}") == ["b", "a"]


@given(st.text(), st.text())
def test_values_are_never_filled_in_again(before, value):
    text = before.replace("{", "").replace("\\", "") + "{{ ip }}"
    assert fill_in(text, {"ip": value}).endswith(value)


@given(st.text())
def test_the_names_that_are_told_are_all_that_a_text_needs(text):
    assert isinstance(fill_in(text, dict.fromkeys(variables_in(text), "")), str)
