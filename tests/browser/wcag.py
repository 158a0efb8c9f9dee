"""What axe says of a page."""

from axe_playwright_python.sync_playwright import Axe


def violations(page):
    """What axe finds against WCAG 2.2 A and AA, as sentences."""
    found = Axe().run(
        page,
        options={
            "runOnly": {
                "type": "tag",
                "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
            }
        },
    )
    return [
        f"{violation['id']}: {node['target']} {node['html'][:160]}"
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]
