"""The whole portal in Chromium: real sockets, real PostgreSQL and Redis, the real bundles."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import uvicorn
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tenants.models import User
from tenants.scope import bound
from tests.browser.screen import WithScreens
from tests.factories import MembershipFactory, MspFactory
from tests.pages.conftest import Fleet, fleet_of

# Playwright keeps an event loop in this thread; the ORM is used beside it, never inside.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

CHROMIUM = os.environ.get("BASALT_CHROMIUM", "/usr/bin/chromium")
BUNDLE = Path(settings.BASE_DIR) / "static" / "dist" / "main.js"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.django_db(transaction=True))


@pytest.fixture(scope="module")
def application(django_db_setup: None) -> WithScreens:
    """The portal, with its static files in place."""
    assert BUNDLE.exists(), "the browser's bundles are missing: run npm ci && npm run build"
    call_command("collectstatic", interactive=False, verbosity=0)
    from portal.asgi import application

    return WithScreens(application)


@pytest.fixture(scope="module")
def server(application: WithScreens) -> Iterator[tuple[uvicorn.Server, str]]:
    """The portal in a thread of this process, and its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(application, ws="websockets-sansio", log_level="warning", lifespan="off")
    )
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield server, f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=15)


@pytest.fixture(scope="module")
def portal(server: tuple[uvicorn.Server, str]) -> str:
    """The portal's address."""
    return server[1]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture
def fleet(transactional_db: None) -> Fleet:
    return fleet_of(MspFactory(name="Northwind", slug="northwind"), "alder")


@pytest.fixture
def technician(fleet: Fleet) -> User:
    return MembershipFactory(tenant=fleet.msp, role="msp-owner").user


@pytest.fixture
def new_context(
    chromium: Browser, server: tuple[uvicorn.Server, str]
) -> Iterator[Callable[..., BrowserContext]]:
    """`new_context(width=360, scheme="dark", user=user)`: a browser, signed in or not."""
    process, portal = server
    made: list[BrowserContext] = []
    errors: list[str] = []

    def make(
        *, width: int = 1280, height: int = 900, scheme: str = "light", user: User | None = None
    ) -> BrowserContext:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, base_url=portal
        )
        context.set_default_timeout(15_000)
        made.append(context)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        context.on("console", lambda message: errors.extend(_refusals(message.text)))
        if user is not None:
            client = Client()
            client.force_login(user)
            cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
            context.add_cookies(
                [{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": portal}]
            )
        return context

    yield make
    for context in made:
        context.close()
    _wait_until_answered(process)
    # Errors in scripts, and what the content policy refused, are never all right.
    assert errors == []


@pytest.fixture
def page(new_context: Callable[..., BrowserContext], technician: User) -> Page:
    """A wide, light window of a signed-in technician."""
    return new_context(user=technician).new_page()


def _wait_until_answered(server: uvicorn.Server) -> None:
    """Nobody reads the last answers any more, but while they are made they hold locks on tables,
    which are about to be emptied."""
    end = time.monotonic() + 15
    while server.server_state.tasks:
        assert time.monotonic() < end, server.server_state.tasks
        time.sleep(0.01)


def _refusals(text: str) -> list[str]:
    return [text] if "Content Security Policy" in text else []


def elsewhere(action: Callable[[], object]) -> None:
    """Do what another process of the portal would do, in a thread of its own: this one belongs
    to Playwright's event loop, and services that speak to Redis bring theirs."""
    with ThreadPoolExecutor(max_workers=1) as threads:
        done = threads.submit(bound(action))
        threads.submit(connections.close_all)
        done.result(timeout=15)
