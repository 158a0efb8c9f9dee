"""Lines of guests' logs, without what must not be shown: passwords, hashes, scripts' secrets.

Whoever may see a VM may see how its boot went, and cloud-init quotes what it chokes on. What was
sealed to this host is known here while it serves, and taken out word by word; the patterns are
for what a guest prints of its own.
"""

import re

HIDDEN = "•••"
_LEAST = 6
"""Shorter lines of a script ("fi", "done") are in every log."""
_PATTERNS = (
    # crypt(3)'s hashes: https://manpages.debian.org/crypt.5
    re.compile(r"\$(?:1|2[abxy]|5|6|7|y|gy)\$[./A-Za-z0-9$=,]{8,}"),
    re.compile(
        r"(?i)((?:passw(?:or)?d|passphrase|secret|token|api[_-]?key)\w*[\"']?\s*[:=]\s*)\S.*"
    ),
    re.compile(r"(?i)(authorization:\s*)\S.*"),
    re.compile(r"()-----BEGIN [A-Z ]*PRIVATE KEY-----.*"),
    re.compile(r"(?i)(://[^/\s:@]{1,64}:)[^/\s@]{1,128}(?=@)"),
)
# What follows is the customer's own text: PyYAML quotes where it stopped.
_QUOTES = re.compile(r'(in "<(?:unicode|byte|file)[^>]*>", line \d+, column \d+):.*')
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


def secret_words(password: str | None, user_data: str | None) -> frozenset[str]:
    """What to look for in a guest's words: the password, and each line of a secret script."""
    words = {password} if password else set()
    for line in (user_data or "").splitlines():
        if len(line.strip()) >= _LEAST and not line.lstrip().startswith("#"):
            words.add(line.strip())
    return frozenset(words)


def cleaned(lines: list[str], secrets: frozenset[str]) -> list[str]:
    """The lines without secrets, escape sequences and control characters; empty ones go."""
    return [line for line in (clean_line(line, secrets) for line in lines) if line]


def clean_line(line: str, secrets: frozenset[str]) -> str:
    """One line, at most 500 characters."""
    line = _ESCAPES.sub("", line[:2000])
    line = "".join(letter if letter.isprintable() else " " for letter in line).strip()
    # The longest first: a password may be part of a line of the script.
    for secret in sorted(secrets, key=len, reverse=True):
        line = line.replace(secret, HIDDEN)
    line = _QUOTES.sub(r"\1", line)
    line = _PATTERNS[0].sub(HIDDEN, line)
    for pattern in _PATTERNS[1:]:
        line = pattern.sub(rf"\g<1>{HIDDEN}", line)
    return line[:500]
