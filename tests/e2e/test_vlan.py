"""VLANs, shown in a guest that runs Debian's own kernel: a host within the host."""

import re

import pytest

from tests.e2e.lab import python_fits, run_inside

INSIDE = "tests/agent/network/vlan_in_a_guest.py"


@pytest.mark.guest
@pytest.mark.root
@pytest.mark.timeout(900)
def test_guests_on_a_vlan_have_their_metadata_and_nobody_else_hears_them():
    if not python_fits():
        pytest.skip("the libraries of this Python do not run under Debian 12's")
    told = run_inside(INSIDE, seconds=800)
    # A terminal gets colours.
    plain = re.sub(r"\x1b\[[0-9;]*m", "", told)
    assert re.search(r"^=+ 7 passed in ", plain, re.MULTILINE), plain[-6000:]
