"""The verdict on a first boot, from each thing that can tell of it."""

import msgspec
import pytest

from agent.boot.evidence import Evidence, with_files, with_lines, with_source, with_word
from agent.boot.verdict import boot_of
from agent.protocol import Boot
from metadata.boot_reports import BootEvent, BootFinal

NOTHING = frozenset()
OPENSTACK = "DataSourceOpenStackLocal [net,ver=2]"


def begun(**more) -> Evidence:
    return Evidence(instance_id="i-1", **more)


def told(*words, **more) -> Evidence:
    known = begun(**more)
    for word in words:
        known = with_word(known, word, NOTHING)
    return known


def judged(known: Evidence) -> tuple[str, str | None]:
    boot = boot_of(known)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(boot), type=Boot) == boot
    return boot.verdict, boot.reason


def start(stage: str, at: float = 1.0) -> BootEvent:
    return BootEvent(stage=stage, kind="start", at=at)


def finish(stage: str, result: str = "SUCCESS", module: str = "", at: float = 2.0) -> BootEvent:
    return BootEvent(stage=stage, module=module, kind="finish", result=result, at=at)


def test_a_guest_that_has_not_asked_is_waited_for():
    assert judged(begun()) == ("waiting", None)


def test_a_guest_that_has_asked_is_under_way():
    assert judged(begun(asked=True)) == ("running", None)


def test_stages_follow_each_other():
    boot = boot_of(told(start("network", 10.0), finish("network", at=12.5), start("config", 13.0)))
    assert [stage.status for stage in boot.stages] == ["ok", "ok", "running", "waiting"]
    assert boot.stages[1].seconds == 2.5
    assert boot.verdict == "running"


def test_a_good_end_is_done():
    final = BootFinal(datasource=OPENSTACK, seconds={"local": 1.5, "final": 3.25})
    known = told(start("network"), finish("network"), final, asked=True, home=True)
    boot = boot_of(known)
    assert (boot.verdict, boot.reason, boot.datasource) == ("done", None, OPENSTACK)
    assert [stage.status for stage in boot.stages] == ["ok"] * 4
    assert [stage.seconds for stage in boot.stages] == [1.5, 1.0, None, 3.25]


def test_phone_home_alone_is_enough_for_done():
    known = with_source(begun(asked=True, home=True), "phone_home")
    assert judged(known) == ("done", None)
    assert boot_of(known).source == "phone_home"


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("scripts-user", "script_failed"),
        ("scripts_user", "script_failed"),
        ("package-update-upgrade-install", "package_failed"),
        ("package_update_upgrade_install", "package_failed"),
        ("users-groups", "user_failed"),
        ("mounts", "disk_failed"),
        ("ntp", "module_failed"),
    ],
)
def test_a_module_that_fails_says_what_kind_of_failure_it_is(module, reason):
    known = told(finish("final", "FAIL", module), finish("final", "FAIL"), home=True)
    assert judged(known) == ("failed", reason)
    assert boot_of(known).stages[3].status == "failed"
    assert boot_of(known).stages[3].errors == [f"{module.replace('_', '-')} failed"]


def test_a_failure_is_told_while_the_boot_still_goes_on():
    assert judged(told(finish("final", "FAIL", "scripts-user"))) == ("running", "script_failed")


@pytest.mark.parametrize(
    "error",
    [
        "('scripts_user', RuntimeError('Runparts: 1 failures (part-001) in 1 attempted commands'))",
        "('scripts-user', RuntimeError('Runparts: 1 failures in 1 attempted commands'))",
    ],
)
def test_errors_in_the_last_word_name_the_module(error):
    known = told(BootFinal(datasource=OPENSTACK, errors={"final": [error]}))
    assert judged(known) == ("failed", "script_failed")
    assert boot_of(known).stages[3].errors == [error]


@pytest.mark.parametrize(
    "line",
    [
        "20:00:00,000 - util.py[WARNING]: Failed loading yaml blob. Invalid format at line 2",
        "20:00:00,000 - cloud_config.py[WARNING]: Failed at merging in cloud config part",
    ],
)
def test_bad_yaml_is_told_from_the_log(line):
    known = told(BootFinal(datasource=OPENSTACK, lines=[line]))
    assert judged(known) == ("failed", "bad_yaml")
    assert [stage.status for stage in boot_of(known).stages] == ["ok", "failed", "ok", "ok"]


def test_what_explains_most_is_the_reason():
    known = told(
        finish("final", "FAIL", "scripts-user"),
        finish("final", "FAIL", "package-update-upgrade-install"),
        home=True,
    )
    assert judged(known) == ("failed", "package_failed")


def test_warnings_make_it_degraded():
    known = told(BootFinal(datasource=OPENSTACK, lines=["stages.py[WARNING]: something odd"]))
    assert judged(known) == ("degraded", "warnings")


@pytest.mark.parametrize(
    ("more", "reason"),
    [({}, "no_datasource"), ({"no_network": True}, "no_network"), ({"asked": True}, "timeout")],
)
def test_after_its_time_a_guest_that_never_came_to_its_end_has_failed(more, reason):
    assert judged(begun(overdue=True, **more)) == ("failed", reason)


def test_an_end_that_comes_after_its_time_is_an_end():
    assert judged(begun(overdue=True, home=True)) == ("done", None)


@pytest.mark.parametrize(
    ("datasource", "identity", "expected"),
    [
        ("DataSourceNone", "openstack", ("failed", "no_datasource")),
        ("DataSourceNoCloud [seed=/dev/sr0]", "openstack", ("failed", "wrong_datasource")),
        ("DataSourceNoCloudNet [seed=dmi]", "nocloud", ("done", None)),
        ("DataSourceEc2Local", "ec2", ("done", None)),
        ("DataSourceOpenStack [net,ver=2]", "openstack", ("done", None)),
    ],
)
def test_the_source_that_the_guest_chose_is_looked_at(datasource, identity, expected):
    assert judged(begun(datasource=datasource, identity=identity, ended=True)) == expected


def test_what_a_guest_says_after_its_last_word_is_not_about_its_first_boot():
    known = told(BootFinal(datasource=OPENSTACK))
    assert with_word(known, finish("final", "FAIL", "scripts-user"), NOTHING) == known


def test_the_guest_agent_tells_where_the_guest_itself_does_not():
    known = with_files(begun(), BootFinal(seconds={"local": 1.5}), ended=False)
    assert (judged(known), boot_of(known).source) == (("running", None), "agent")
    failed = BootFinal(datasource=OPENSTACK, errors={"final": ["('runcmd', KeyError('x'))"]})
    known = with_files(known, failed, ended=True)
    assert judged(known) == ("failed", "script_failed")
    assert boot_of(known).stages[0].seconds == 1.5


def test_the_guest_agent_adds_nothing_to_the_last_word_or_out_of_nothing():
    known = told(BootFinal(datasource=OPENSTACK))
    assert with_files(known, BootFinal(seconds={"local": 1.0}), ended=True) == known
    assert with_files(begun(), BootFinal(), ended=True) == begun()


def test_a_flood_of_modules_and_lines_has_an_end():
    known = begun()
    for number in range(1000):
        known = with_word(known, finish("final", "FAIL", f"m-{number}"), NOTHING)
        known = with_lines(known, [f"line {number} " + "x" * 3000], NOTHING)
    boot = boot_of(known)
    assert (len(boot.log), len(known.modules)) == (200, 64)
    assert len(msgspec.msgpack.encode(boot)) < 200_000
