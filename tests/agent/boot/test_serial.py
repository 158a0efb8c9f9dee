"""A serial line's text, as cloud-init 22.4 and 25.1 print it, and as a hostile guest does."""

from agent.boot.evidence import Evidence
from agent.boot.serial import SerialText, with_serial
from agent.boot.verdict import boot_of

GOOD = """\
[   12.1] cloud-init[310]: Cloud-init v. 22.4.2 running 'init-local' at Sat, 28 Nov 2026 20:00:00 +0000. Up 12.31 seconds.
[   20.1] cloud-init[330]: Cloud-init v. 22.4.2 running 'init' at Sat, 28 Nov 2026 20:00:08 +0000. Up 20.10 seconds.
[   20.2] cloud-init[330]: ci-info: |  lo  | True | 127.0.0.1 | 255.0.0.0 | host | . |
[   20.2] cloud-init[330]: ci-info: | enp1s0 | True | 10.0.0.2 | 255.255.255.0 | global | 52:54:00:00:00:01 |
[   25.0] cloud-init[360]: Cloud-init v. 22.4.2 running 'modules:config' at Sat, 28 Nov 2026 20:00:13 +0000. Up 25.00 seconds.
[   31.0] cloud-init[380]: Cloud-init v. 22.4.2 running 'modules:final' at Sat, 28 Nov 2026 20:00:19 +0000. Up 31.00 seconds.
[   40.0] cloud-init[380]: Cloud-init v. 22.4.2 finished at Sat, 28 Nov 2026 20:00:28 +0000. Datasource DataSourceOpenStackLocal [net,ver=2].  Up 40.00 seconds
"""  # noqa: E501


def read(text: str, known: Evidence | None = None, secrets=frozenset()) -> Evidence:
    known = known or Evidence(instance_id="i-1")
    return with_serial(known, text.splitlines(), now=100.0, secrets=secrets)


def test_a_good_boot_is_read_from_the_serial_line_alone():
    boot = boot_of(read(GOOD))
    assert (boot.verdict, boot.source) == ("done", "serial")
    assert boot.datasource == "DataSourceOpenStackLocal [net,ver=2]"
    assert [stage.status for stage in boot.stages] == ["ok"] * 4


def test_stages_are_under_way_until_the_next_begins():
    known = read("\n".join(GOOD.splitlines()[:2]))
    assert [stage.status for stage in boot_of(known).stages] == [
        "ok",
        "running",
        "waiting",
        "waiting",
    ]


def test_a_guest_that_finds_no_metadata_says_so_at_its_end():
    none = GOOD.replace("DataSourceOpenStackLocal [net,ver=2]", "DataSourceNone")
    assert boot_of(read(none)).reason == "no_datasource"
    down = none.replace("| enp1s0 | True | 10.0.0.2", "| enp1s0 | False | .")
    assert boot_of(read(down)).reason == "no_network"


def test_warnings_errors_and_tracebacks_are_kept_and_chatter_is_not():
    known = read(
        "[ OK ] Started something\n"
        "[ 20.5] cloud-init[330]: 2026-11-28 20:00:09,123 - util.py[WARNING]: Failed loading yaml\n"
        "cloud-init[380]: /var/lib/cloud/instance/scripts/part-001: 3: nonsense: not found\n"
        "E: Unable to locate package nonsense\n"
        "Debian GNU/Linux 12 web-1 ttyS0\n"
    )
    assert len(known.lines) == 3
    assert known.lines[0].startswith("2026-11-28 20:00:09,123 - util.py[WARNING]")
    assert boot_of(known).verdict == "waiting"
    assert boot_of(read(GOOD, known)).reason == "bad_yaml"


def test_a_kernel_that_panics_is_a_crash():
    boot = boot_of(read("[    2.0] Kernel panic - not syncing: VFS: Unable to mount root fs"))
    assert (boot.verdict, boot.reason) == ("failed", "crashed")


def test_secrets_do_not_come_through():
    known = read("x.py[WARNING]: hunter22 was refused", secrets=frozenset({"hunter22"}))
    assert known.lines == ["x.py[WARNING]: ••• was refused"]


def test_pieces_become_lines_whatever_their_ends():
    text = SerialText()
    assert text.feed(b"one\r\ntw") == ["one"]
    assert text.feed(b"o\r\n\r\n\xff\xfe\n") == ["two", "��"]
    assert text.feed(b"x" * 10_000_000) == []
    assert len(text.feed(b"\n")[0]) == 4096


def test_lines_made_to_be_slow_are_not():
    evil = ["Cloud-init v. " + "a" * 4000, "ci-info: |" + " " * 4000, "E: " + "|" * 4000] * 500
    assert len(read("\n".join(evil)).lines) <= 200
