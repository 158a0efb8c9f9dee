"""Another tenant's id takes the very way of one that never was: the same statements to the
database, in the same order. So neither the clock nor anything else tells them apart."""

import re

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.policy.matrix import _PARAMETER, METHODS, Asker, Call, _answers, templates
from tests.policy.worlds import scene_make

CALLERS = ("customer-administrator of the customer", "msp-owner of a site")
# A secret in the address is looked up by its hash: it is right, or none at all.
_BY_SECRET = re.compile(r"<str:secret>")
# Signed by a host, whose key is looked up first: the id is not asked for without.
_BY_HOSTS = re.compile(r"^agent/")


def asked(asker, caller, call, world):
    with CaptureQueriesContext(connection) as captured:
        status = asker.ask(caller, call, world).status
    # What differs between any two calls: values, and names of savepoints.
    shapes = [
        re.sub(r'"s\d+_x\d+"|\'[^\']*\'|\b\d+\b|%\(\w+\)s', "?", query["sql"])
        for query in captured.captured_queries
    ]
    return status, shapes


@pytest.mark.parametrize("name", CALLERS)
@pytest.mark.parametrize("part", range(4))
def test_anothers_thing_is_looked_for_like_one_that_never_was(db, name, part):
    scene = scene_make()
    asker = Asker(scene)
    caller = next(one for one in scene.callers if one.name == name)
    tried = statements = 0
    for number, (template, view) in enumerate(templates()):
        if number % 4 != part or not _PARAMETER.search(template):
            continue
        if _BY_SECRET.search(template) or _BY_HOSTS.search(template):
            continue
        for method in METHODS:
            if method in ("head", "options") or not _answers(view, method):
                continue
            call = Call(template, method, "")
            cache.clear()
            theirs = asked(asker, caller, call, scene.worlds["another MSP's"])
            missing = asked(asker, caller, call, scene.worlds["nobody"])
            assert theirs == missing, call.name
            tried += 1
            statements += len(theirs[1])
    assert tried > 15
    assert statements > 5 * tried
