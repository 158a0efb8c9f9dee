"""What the documents name is there."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_EVIDENCE = re.compile(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|md|txt|html|js|json))(?:::(\w+))?`")
_ROW = re.compile(r"^\| (\d+\.\d+\.\d+) \| (.+?) \| (\w+) \| (.+) \|$", re.MULTILINE)

# Of ASVS 5.0.0, levels 1 and 2: each section's numbers.
SECTIONS = {
    "1.1": [1, 2], "1.2": range(1, 10), "1.3": range(1, 12), "1.4": [1, 2, 3], "1.5": [1, 2],
    "2.1": [1, 2, 3], "2.2": [1, 2, 3], "2.3": range(1, 5), "2.4": [1],
    "3.2": [1, 2], "3.3": range(1, 5), "3.4": range(1, 7), "3.5": range(1, 6), "3.7": [1, 2],
    "4.1": [1, 2, 3], "4.2": [1], "4.3": [1, 2], "4.4": range(1, 5),
    "5.1": [1], "5.2": [1, 2, 3], "5.3": [1, 2], "5.4": [1, 2, 3],
    "6.1": [1, 2, 3], "6.2": range(1, 13), "6.3": range(1, 5), "6.4": range(1, 5),
    "6.5": range(1, 6), "6.6": [1, 2, 3], "6.8": range(1, 5),
    "7.1": [1, 2, 3], "7.2": range(1, 5), "7.3": [1, 2], "7.4": range(1, 6), "7.5": [1, 2],
    "7.6": [1, 2],
    "8.1": [1, 2], "8.2": [1, 2, 3], "8.3": [1], "8.4": [1],
    "9.1": [1, 2, 3], "9.2": range(1, 5),
    "10.1": [1, 2], "10.2": [1, 2], "10.3": range(1, 5), "10.4": range(1, 12),
    "10.5": range(1, 6), "10.6": [1, 2], "10.7": [1, 2, 3],
    "11.1": [1, 2], "11.2": [1, 2, 3], "11.3": [1, 2, 3], "11.4": range(1, 5), "11.5": [1],
    "11.6": [1],
    "12.1": [1, 2, 3], "12.2": [1, 2], "12.3": range(1, 5),
    "13.1": [1], "13.2": range(1, 6), "13.3": [1, 2], "13.4": range(1, 6),
    "14.1": [1, 2], "14.2": range(1, 5), "14.3": [1, 2, 3],
    "15.1": [1, 2, 3], "15.2": [1, 2, 3], "15.3": range(1, 8),
    "16.1": [1], "16.2": range(1, 6), "16.3": range(1, 5), "16.4": [1, 2, 3], "16.5": [1, 2, 3],
    "17.1": [1], "17.2": range(1, 5), "17.3": [1, 2],
}  # fmt: skip
WANTED = [f"{section}.{number}" for section, numbers in SECTIONS.items() for number in numbers]


def documents() -> list[Path]:
    said = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    # An archive of the project has no git.
    found = [ROOT / name for name in said.stdout.split()] or [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
    ]
    return sorted(path for path in found if path.exists())


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).strip().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for link, picture in _LINK.findall(text):
        target = link or picture
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        to = (path.parent / name) if name else path
        assert to.exists(), target
        if anchor:
            assert anchor in _anchors(to.read_text()), target


def rows() -> list[tuple[str, str, str, str]]:
    return _ROW.findall((ROOT / "docs/asvs.md").read_text())


def test_the_list_of_asvs_has_every_line_of_level_two_once():
    assert len(WANTED) == 253
    assert [row[0] for row in rows()] == WANTED


def test_every_line_says_whether_it_is_met_and_where():
    for number, words, state, where in rows():
        assert state in ("yes", "open", "operator", "none"), number
        assert len(words) > 2, number
        assert len(where) > 5, number


def test_all_evidence_exists():
    text = (ROOT / "docs/asvs.md").read_text() + (ROOT / "docs/walls.md").read_text()
    text += (ROOT / "docs/threat-model.md").read_text()
    named = _EVIDENCE.findall(text)
    assert len(named) > 150
    for name, test in named:
        path = ROOT / name
        assert path.is_file(), name
        if test:
            assert f"def {test}(" in path.read_text(), f"{name}::{test}"
