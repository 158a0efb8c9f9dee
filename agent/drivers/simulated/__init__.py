"""A host that is not there, with the pace and the refusals of a real one.

For `python -m agent simulate`, which shows a portal many hosts on real links.
"""

from agent.drivers.simulated.driver import SimulatedDriver
from agent.drivers.simulated.machine import SimulatedPlumber, SimulatedProbe
from agent.drivers.simulated.storage import SimulatedDisks, SimulatedImages

__all__ = [
    "SimulatedDisks",
    "SimulatedDriver",
    "SimulatedImages",
    "SimulatedPlumber",
    "SimulatedProbe",
]
