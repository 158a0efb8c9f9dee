"""What we ask of cloud-init so that it tells how it goes: part of our own cloud-config.

Events come by cloud-init's own reporting, once it has read this; so nothing is heard of its
first stage, nor of what it thought of the user-data. The command below tells that at the end.
It starts with each boot until it was heard once, and needs nothing that cloud-init does not
bring: Python, and a shell.
"""

from typing import Any

from metadata.documents import METADATA_IPV4

REPORT_URL = f"http://{METADATA_IPV4}/basalt/v1/report"

_SCRIPT = r"""
import json, os, re, time, urllib.request
HEARD = "/var/lib/cloud/instance/basalt-reported"
RUN = "/run/cloud-init/"
for _ in range(43200):
    if os.path.exists(RUN + "result.json"):
        break
    time.sleep(0.5)
def read(name):
    try:
        with open(RUN + name) as file:
            return json.load(file)
    except Exception:
        return {}
def tail(path, start):
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - 1000000))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except Exception:
        return []
    begin = [n for n, line in enumerate(lines) if start in line]
    return lines[begin[-1]:] if begin else lines
found, follow = [], 0
for line in tail("/var/log/cloud-init.log", "running 'init-local'"):
    stamped = re.match(r"\d{4}-\d\d-\d\d ", line)
    if re.search(r"\[(WARNING|ERROR|CRITICAL)\]", line):
        found.append(line)
        follow = 12
    elif stamped:
        follow = 0
    elif follow:
        found.append(line)
        follow -= 1
said = r"^(E|Err|W): |/scripts/|\[(WARNING|ERROR|CRITICAL)\]|Traceback|[Nn]ot found|rror:"
for line in tail("/var/log/cloud-init-output.log", "running 'init-local'"):
    if re.search(said, line) and line not in found:
        found.append(line)
if len(found) > 120:
    found = found[:80] + found[-40:]
body = {"status": read("status.json"), "result": read("result.json")}
body["log"] = [line[:300] for line in found]
data = json.dumps(body).encode()
while len(data) > 60000 and body["log"]:
    body["log"] = body["log"][: len(body["log"]) // 2]
    data = json.dumps(body).encode()
for _ in range(20):
    try:
        request = urllib.request.Request(URL, data, {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=10).close()
        open(HEARD, "w").close()
        break
    except Exception:
        time.sleep(3)
"""
# cloud-init waits for what a boot command writes to; so it writes nowhere.
_START = (
    "[ -e /var/lib/cloud/instance/basalt-reported ] && exit 0; "
    'p=$(command -v python3 || echo /usr/libexec/platform-python); setsid "$p" -c "$0" '
    "</dev/null >/dev/null 2>&1 &"
)


def telling_config() -> dict[str, Any]:
    """Keys of cloud-config. https://cloudinit.readthedocs.io/en/latest/reference/modules.html"""
    return {
        "reporting": {
            "basalt": {"type": "webhook", "endpoint": REPORT_URL, "timeout": 5, "retries": 2}
        },
        "bootcmd": [["sh", "-c", _START, f"URL = {REPORT_URL!r}\n{_SCRIPT.strip()}\n"]],
    }
