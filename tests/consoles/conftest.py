"""A running portal, as for the tests of hosts."""

from tests.hypervisors.conftest import _no_refusals_of_others, portal

__all__ = ["_no_refusals_of_others", "portal"]
