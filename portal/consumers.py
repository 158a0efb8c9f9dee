"""The one socket of each open page. It tells that something changed; the page asks again."""

import asyncio
import contextlib
import time
from typing import Any, ClassVar
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from hypervisors.models import Hypervisor, Job
from tenants.models import AccessRule, SecondPersonRequest, Site, Tenant, User
from tenants.scope import scope_of, sign_in_scope
from tenants.services.live import live_missed, person_group, tenant_group
from tenants.services.reach import reach_tenants
from tenants.services.sessions import session_group, session_open
from tenants.sockets import FROM_PORTAL, NOTHING_HEARD, Declared
from vms.models import Image, VirtualMachine

RECHECK_S = 60.0
"""How often it is asked anew what a person may see, besides each time they lose something."""
SIGNED_OUT, NO_MORE_ALLOWED = 4401, 4403

_ROWS: dict[str, tuple[Any, str]] = {
    "vm": (VirtualMachine, "vm.view"),
    "job": (Job, "job.view"),
    "hypervisor": (Hypervisor, "hypervisor.view"),
    "site": (Site, "site.view"),
    "image": (Image, "image.view"),
    "agreement": (SecondPersonRequest, "agreement.manage"),
}
"""What events are about, by their kind."""


class LiveConsumer(Declared, AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Joins the groups of all tenants the person may see. Events carry a kind and an id; what
    is behind them is asked for, and checked, as a page."""

    messages: ClassVar[dict[str, str]] = {
        "live.changed": "tenant.view",
        "session.ended": FROM_PORTAL,
        "person.recheck": FROM_PORTAL,
    }
    hears: ClassVar[dict[Any, str]] = {str: NOTHING_HEARD, bytes: NOTHING_HEARD}

    async def connect(self) -> None:
        self.joined: set[str] = set()
        self.partly: set[str] = set()
        self.recheck: asyncio.Task[None] | None = None
        self.session_group = self.person_group = ""
        if not self.scope["user"].is_authenticated:
            # Accepted first, so that the browser is told the code and not just a failure.
            await self.accept()
            await self.close(code=SIGNED_OUT)
            return
        # Accepted when all is followed: from "open" on, the page misses nothing. Whatever was
        # told since the page was made, it hears of now.
        self.session_group = session_group(self.scope["session"].session_key)
        self.person_group = person_group(self.scope["user"].pk)
        for group in (self.session_group, self.person_group):
            await self.channel_layer.group_add(group, self.channel_name)
        # After the groups are joined: what was lost before that is seen to be gone.
        if not await self._follow():
            await self.accept()
            await self.close(code=SIGNED_OUT)
            return
        await self.accept()
        if await database_sync_to_async(live_missed)(self.joined, since=self._page_made_at()):
            await self.send_json({"kind": "missed", "id": None})
        self.recheck = asyncio.create_task(self._keep_following())

    async def disconnect(self, code: int) -> None:
        if self.recheck is not None:
            self.recheck.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.recheck
        for group in filter(None, [*self.joined, self.session_group, self.person_group]):
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive(self, text_data: Any = None, bytes_data: Any = None, **_: Any) -> None:
        """Pages have nothing to say here."""

    async def live_changed(self, event: dict[str, Any]) -> None:
        """From `tenants.services.live.live_publish`."""
        if event["tenant"] in self.partly and not await self._may_see(event["kind"], event["id"]):
            return
        await self.send_json({"kind": event["kind"], "id": event["id"]})

    async def session_ended(self, _event: dict[str, Any]) -> None:
        """From `tenants.services.sessions.sockets_close`."""
        await self.close(code=SIGNED_OUT)

    async def person_recheck(self, _event: dict[str, Any]) -> None:
        """From `tenants.services.live.person_recheck`."""
        await self._look_again()

    @database_sync_to_async  # type: ignore[untyped-decorator]
    def _may_see(self, kind: str, object_id: str) -> bool:
        """For tenants of which the person may see a part: is this of that part?"""
        if kind not in _ROWS:
            return False
        user: User = self.scope["user"]
        model, permission = _ROWS[kind]
        with scope_of(user):
            return bool(model.objects.allowed(user, permission).filter(pk=object_id).exists())

    def _page_made_at(self) -> float:
        """`?since=` of the socket's address, in seconds of the epoch; now, where it is not one."""
        query = parse_qs(self.scope.get("query_string", b"").decode("ascii", "replace"))
        try:
            return float(query["since"][0])
        except (KeyError, ValueError):
            return time.time()

    async def _keep_following(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_S)
            if not await self._look_again():
                return

    async def _look_again(self) -> bool:
        """Close where the person may see less than before: the page is made anew, or says why
        it can't be."""
        before = self.joined
        if not await self._follow():
            await self.close(code=SIGNED_OUT)
            return False
        if before - self.joined:
            await self.close(code=NO_MORE_ALLOWED)
            return False
        return True

    async def _follow(self) -> bool:
        """Join and leave groups until they are those of the tenants the person may see now.
        False when the account is closed, the session has ended, or a policy wants more."""
        groups = await self._groups()
        if groups is None:
            return False
        for group in groups - self.joined:
            await self.channel_layer.group_add(group, self.channel_name)
        for group in self.joined - groups:
            await self.channel_layer.group_discard(group, self.channel_name)
        self.joined = groups
        return True

    @database_sync_to_async  # type: ignore[untyped-decorator]
    def _groups(self) -> set[str] | None:
        with sign_in_scope():
            user = User.objects.filter(pk=self.scope["user"].pk, is_active=True).first()
            if user is None or not session_open(self.scope["session"], user):
                return None
        # Found anew each time: what the person reaches may have changed.
        with scope_of(user):
            partly = set(AccessRule.objects.grants(user).values_list("tenant_id", flat=True))
            partly |= set(AccessRule.objects.parts_denied(user).values_list("tenant_id", flat=True))
            reached = set(reach_tenants(user))
            tenants = Tenant.objects.allowed(user, "tenant.view").values_list("id", flat=True)
            # No news of the tenants above, whose names alone may be read.
            followed = (set(tenants) | partly) & reached
        self.partly = {str(tenant_id) for tenant_id in partly}
        return {tenant_group(tenant_id) for tenant_id in followed}
