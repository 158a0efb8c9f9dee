"""Those who talk too much are slowed down, those who do not are not."""

from hypervisors.pacing import Pace


def test_a_burst_goes_through_and_then_the_rate_holds(monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    pace = Pace(rate=10, burst=20)
    assert [pace.take(1) for _ in range(20)] == [0.0] * 20
    assert pace.take(1) == 0.1
    assert pace.take(4) == 0.5
    now = 100.5
    assert pace.take(0) == 0.0
    now = 1000.0
    assert pace.take(20) == 0.0
    assert pace.take(1) == 0.1
