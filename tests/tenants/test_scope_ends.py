"""That no scope outlives its work: not on a pooled connection, in a thread, or after an error."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from celery import shared_task
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, connections, transaction
from django.db.utils import ProgrammingError

from tenants.database.base import DatabaseWrapper
from tenants.models import Site
from tenants.scope import (
    NOTHING,
    SETTINGS,
    Scope,
    bound,
    bound_iterator,
    current,
    enter,
    system_scope,
    tenant_scope,
)
from tenants.scoped_command import ScopedCommand
from tests.factories import CustomerFactory, MspFactory, SiteFactory
from tests.tenants.conftest import names

# ------------------------------------------------------------------ nesting, and transactions


def test_scopes_nest_and_give_back_what_was_before(ours, theirs):
    with tenant_scope([ours.tenant_id]):
        with tenant_scope([theirs.tenant_id]):
            assert names() == {theirs.name}
            with NOTHING:
                assert names() == set()
            assert names() == {theirs.name}
        assert names() == {ours.name}


def test_a_scope_that_takes_anothers_place_ends_with_it(ours, theirs):
    with NOTHING:
        enter(tenant_scope([ours.tenant_id]))
        assert names() == {ours.name}
    assert names() == {ours.name, theirs.name}


def test_a_savepoint_that_is_rolled_back_takes_no_scope_with_it(ours, theirs):
    with tenant_scope([ours.tenant_id]):
        assert names() == {ours.name}
        with (
            suppress(IntegrityError),
            transaction.atomic(),
            tenant_scope([theirs.tenant_id]),
        ):
            assert names() == {theirs.name}
            Site.objects.create(tenant_id=theirs.tenant_id, name=theirs.name, slug="other")
            raise AssertionError("the name is taken")
        assert names() == {ours.name}


def test_an_error_of_the_database_leaves_the_transaction_before_it_usable(ours, theirs):
    with tenant_scope([ours.tenant_id]), transaction.atomic():
        with (
            pytest.raises(ProgrammingError),
            transaction.atomic(),
            tenant_scope([theirs.tenant_id]),
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT nonsense")
        assert names() == {ours.name}


def test_a_long_read_keeps_to_its_scope_while_others_are_entered_beside_it(ours, theirs):
    SiteFactory.create_batch(5, tenant=ours.tenant)
    seen = []
    with tenant_scope([ours.tenant_id]):
        for site in Site.objects.iterator(chunk_size=2):
            with tenant_scope([theirs.tenant_id]):
                assert names() == {theirs.name}
            seen.append(site.tenant_id)
    assert seen == [ours.tenant_id] * 6


@pytest.mark.django_db(transaction=True)
class TestWithoutATransactionAround:
    """As in production: statements stand alone unless somebody opens a transaction."""

    @pytest.fixture
    def sites(self, transactional_db: None) -> tuple[Site, Site]:
        msp = MspFactory()
        ours, theirs = (SiteFactory(tenant=CustomerFactory(parent=msp)) for _ in range(2))
        return ours, theirs

    def test_a_lone_statement_sees_its_scope_and_leaves_nothing_behind(self, sites):
        ours, _ = sites
        with tenant_scope([ours.tenant_id]):
            assert names() == {ours.name}
        with NOTHING:
            assert names() == set()
        assert _settings_of(connection) in (["", "", "", ""], [None] * 4)

    def test_nothing_is_left_after_a_commit_and_a_rollback(self, sites):
        ours, theirs = sites
        with tenant_scope([ours.tenant_id]), transaction.atomic():
            assert names() == {ours.name}
        with NOTHING:
            assert names() == set()
        with suppress(RuntimeError), tenant_scope([theirs.tenant_id]), transaction.atomic():
            assert names() == {theirs.name}
            raise RuntimeError
        with NOTHING, transaction.atomic():
            assert names() == set()

    def test_a_long_read_outside_a_transaction_keeps_its_scope(self, sites):
        ours, theirs = sites
        SiteFactory.create_batch(5, tenant=ours.tenant)
        with tenant_scope([ours.tenant_id]):
            rows = Site.objects.iterator(chunk_size=2)
            seen = [next(rows).tenant_id]
        with tenant_scope([theirs.tenant_id]):
            seen += [site.tenant_id for site in rows]
        assert seen == [ours.tenant_id] * 6

    def test_what_runs_after_the_commit_has_the_scope_in_which_it_was_asked_for(self, sites):
        ours, _ = sites
        seen: list[set[str]] = []
        with NOTHING, transaction.atomic(), tenant_scope([ours.tenant_id]):
            transaction.on_commit(lambda: seen.append(names()))
        assert seen == [{ours.name}]

    def test_a_connection_that_broke_is_told_again(self, sites):
        ours, _ = sites
        with tenant_scope([ours.tenant_id]):
            assert names() == {ours.name}
            connection.close()
            assert names() == {ours.name}
            with transaction.atomic():
                connection.connection.close()
                connection.connection = None
            assert names() == {ours.name}

    def test_two_tenants_that_share_one_pooled_connection_never_mix(self, sites, pooled):
        """Two requests' worth of threads in turn on one connection, in and out of
        transactions, with errors: each sees its own tenant, and who has none sees nothing."""
        scopes = [tenant_scope([site.tenant_id]) for site in sites]
        expected = [{site.name} for site in sites]
        turns = threading.Barrier(3)

        def work(number: int) -> None:
            turns.wait(10)
            for turn in range(40):
                scope, wanted = (
                    (scopes[number], expected[number]) if number < 2 else (NOTHING, set())
                )
                with scope:
                    pooled(turn, wanted)

        with ThreadPoolExecutor(3) as threads:
            for done in [threads.submit(work, number) for number in range(3)]:
                done.result(60)

    @pytest.fixture
    def pooled(self, sites: tuple[Site, Site]) -> Iterator[Callable[[int, set[str]], None]]:
        options = {**connection.settings_dict["OPTIONS"]}
        options["pool"] = {"min_size": 1, "max_size": 1, "timeout": 20}
        wrappers: list[DatabaseWrapper] = []
        backends: set[int] = set()

        def use(turn: int, wanted: set[str]) -> None:
            # What Django does at the start and at the end of a request.
            mine = DatabaseWrapper({**connection.settings_dict, "OPTIONS": options}, "default")
            wrappers.append(mine)
            connections["default"] = mine
            try:
                with mine.cursor() as cursor:
                    backends.add(mine.connection.info.backend_pid)
                    if turn % 3 == 0:
                        mine.set_autocommit(False)
                    assert _names(cursor) == wanted
                    if turn % 4 == 0:
                        with pytest.raises(ProgrammingError):
                            cursor.execute("SELECT nonsense")
                    else:
                        assert _names(cursor) == wanted
            finally:
                mine.close()

        yield use
        wrappers[0].close_pool()
        assert len(backends) == 1


def _names(cursor: Any) -> set[str]:
    cursor.execute("SELECT name FROM tenants_site")
    return {name for (name,) in cursor.fetchall()}


def _settings_of(connection: Any) -> list[str | None]:
    with NOTHING, connection.cursor() as cursor:
        cursor.execute(
            "SELECT " + ", ".join(f"current_setting('{name}', true)" for name in SETTINGS)
        )
        return list(cursor.fetchone())


# ------------------------------------------------------------------ threads, async, later


def test_a_new_thread_begins_with_nothing():
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(current).result(5) is NOTHING


def test_a_call_can_be_bound_to_the_scope_of_now():
    scope = system_scope("now")
    with scope, ThreadPoolExecutor(1) as threads:
        assert threads.submit(bound(current)).result(5) is scope


async def test_tasks_and_threads_of_asyncio_take_the_scope_along_and_keep_it_to_themselves():
    async def seen(scope: Scope) -> tuple[Scope, Scope, Scope]:
        with scope:
            await asyncio.sleep(0)
            inside = await sync_to_async(current, thread_sensitive=False)()
            await asyncio.sleep(0)
            task = await asyncio.create_task(_current())
            return current(), inside, task

    first, second = system_scope("first"), system_scope("second")
    both = await asyncio.gather(seen(first), seen(second))
    assert both == [(first,) * 3, (second,) * 3]


async def _current() -> Scope:
    return current()


def test_pieces_that_are_made_later_are_made_in_the_scope_of_now(ours, theirs):
    def pieces() -> Iterator[set[str]]:
        yield names()
        yield names()

    with tenant_scope([ours.tenant_id]):
        sent = bound_iterator(pieces())
    with NOTHING:
        assert list(sent) == [{ours.name}] * 2
        assert current() is NOTHING


def test_a_task_that_declares_no_scope_does_not_run():
    @shared_task(name="tests.undeclared")
    def undeclared() -> None:
        raise AssertionError("it ran")

    try:
        with pytest.raises(ImproperlyConfigured, match="declares no scope"):
            undeclared()
    finally:
        undeclared.app.tasks.pop("tests.undeclared", None)


def test_a_task_runs_in_its_own_scope_whoever_calls_it(ours, theirs):
    @shared_task(name="tests.declared", scope=lambda tenant_id: tenant_scope([tenant_id]))
    def declared(tenant_id: Any) -> set[str]:
        return names()

    try:
        with tenant_scope([theirs.tenant_id]):
            assert declared(ours.tenant_id) == {ours.name}
    finally:
        declared.app.tasks.pop("tests.declared", None)


def test_a_command_that_declares_no_scope_does_not_run():
    class Undeclared(ScopedCommand):
        def handle(self, *args: Any, **options: Any) -> None:
            raise AssertionError("it ran")

    with pytest.raises(ImproperlyConfigured, match="declares no scope"):
        Undeclared().execute()
