"""How people of a tenant sign in: its policy and its identity providers."""

import uuid
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from portal.views.base import PageView, tell_form
from portal.views.forms.sign_in import DomainsForm, PolicyForm, ProviderForm, ProviderRemoveForm
from tenants.errors import RuleError
from tenants.models import IdentityProvider, SignInPolicy, Tenant
from tenants.services.identity_providers import (
    identity_provider_change,
    identity_provider_create,
    identity_provider_domains_set,
    identity_provider_remove,
)
from tenants.services.sign_in_policies import policy_of, sign_in_policy_set


class SignInPoliciesView(PageView):
    """All tenants whose policy one may set; straight on where there is only one."""

    permission = "policy.manage"
    template_name = "pages/sign_in_policies.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        tenants = list(Tenant.objects.allowed(self.user, self.permission).order_by("-kind", "name"))
        wanted = request.GET.get("tenant", "")
        if len(tenants) == 1 or wanted in {tenant.slug for tenant in tenants}:
            return redirect("sign-in-policy", customer=wanted or tenants[0].slug)
        policies = {
            policy.tenant_id: policy
            for policy in SignInPolicy.objects.allowed(self.user, self.permission)
        }
        providers = IdentityProvider.objects.allowed(self.user, self.permission)
        with_provider = set(providers.values_list("tenant_id", flat=True))
        shown = [
            {
                "tenant": tenant,
                "policy": policies.get(tenant.id),
                "provider": tenant.id in with_provider,
            }
            for tenant in tenants
            if tenant.id in policies or tenant.id in with_provider or tenant.parent_id is None
        ]
        return self.page({"tenants": tenants, "rows": shown})


class SignInPage(PageView):
    permission = "policy.manage"

    def tenant(self, customer: str) -> Tenant:
        return self.one(Tenant.objects.all(), slug=customer)

    def provider(self, tenant: Tenant, provider_id: uuid.UUID) -> IdentityProvider:
        rows = IdentityProvider.objects.select_related("tenant").prefetch_related("domains")
        return self.one(rows, tenant=tenant, id=provider_id)


class SignInPolicyView(SignInPage):
    permission = "policy.manage"
    template_name = "pages/sign_in_policy.html"

    def get(self, request: HttpRequest, customer: str) -> HttpResponse:
        tenant = self.tenant(customer)
        return self._shown(tenant, PolicyForm(policy=policy_of(tenant)))

    def post(self, request: HttpRequest, customer: str) -> HttpResponse:
        tenant = self.tenant(customer)
        form = PolicyForm(request.POST, policy=policy_of(tenant))
        if not form.is_valid():
            return self._shown(tenant, form, status=422)
        data = form.cleaned_data
        try:
            sign_in_policy_set(
                actor=self.actor,
                tenant=tenant,
                **{**data, "mfa_roles": [uuid.UUID(role) for role in data["mfa_roles"]]},
            )
        except RuleError as refusal:
            tell_form(form, refusal)
            return self._shown(tenant, form, status=422)
        self.attempt(lambda: "The policy is in force. It is asked of everybody from now on.")
        return redirect("sign-in-policy", customer=tenant.slug)

    def _shown(self, tenant: Tenant, form: PolicyForm, status: int = 200) -> HttpResponse:
        providers = IdentityProvider.objects.filter(tenant=tenant).prefetch_related("domains")
        context = {
            "tenant": tenant,
            "form": form,
            "providers": providers,
            "kinds": IdentityProvider.Kind.choices,
            "here": reverse("sign-in-policy", args=[tenant.slug]),
        }
        return self.page(context, status=status)


class ProviderCreateView(SignInPage):
    permission = "policy.manage"
    template_name = "pages/identity_provider.html"

    def get(self, request: HttpRequest, customer: str, kind: str) -> HttpResponse:
        tenant = self.tenant(customer)
        return self._shown(tenant, kind, ProviderForm(kind=_known(kind), tenant=tenant))

    def post(self, request: HttpRequest, customer: str, kind: str) -> HttpResponse:
        tenant = self.tenant(customer)
        form = ProviderForm(request.POST, kind=_known(kind), tenant=tenant)
        if form.is_valid():
            try:
                made = identity_provider_create(
                    actor=self.actor, tenant=tenant, kind=kind, **_fields(form)
                )
            except RuleError as refusal:
                tell_form(form, refusal)
            else:
                return redirect("identity-provider", customer=tenant.slug, provider_id=made.id)
        return self._shown(tenant, kind, form, status=422)

    def _shown(
        self, tenant: Tenant, kind: str, form: ProviderForm, status: int = 200
    ) -> HttpResponse:
        return self.page({"tenant": tenant, "kind": kind, "form": form}, status=status)


class ProviderView(SignInPage):
    permission = "policy.manage"
    template_name = "pages/identity_provider.html"

    def get(self, request: HttpRequest, customer: str, provider_id: uuid.UUID) -> HttpResponse:
        tenant = self.tenant(customer)
        return self.shown(self.provider(tenant, provider_id))

    def post(self, request: HttpRequest, customer: str, provider_id: uuid.UUID) -> HttpResponse:
        provider = self.provider(self.tenant(customer), provider_id)
        form = ProviderForm(
            request.POST, kind=provider.kind, tenant=provider.tenant, provider=provider
        )
        if not form.is_valid():
            return self.shown(provider, form=form, status=422)
        try:
            identity_provider_change(actor=self.actor, provider=provider, **_fields(form))
        except RuleError as refusal:
            tell_form(form, refusal)
            return self.shown(provider, form=form, status=422)
        self.attempt(lambda: "The provider is changed.")
        return redirect("identity-provider", customer=customer, provider_id=provider_id)

    def shown(
        self, provider: IdentityProvider, *, status: int = 200, **context: Any
    ) -> HttpResponse:
        tenant = provider.tenant
        domains = "\n".join(row.domain for row in provider.domains.all())
        known: dict[str, Any] = {
            "tenant": tenant,
            "provider": provider,
            "kind": provider.kind,
            "form": ProviderForm(kind=provider.kind, tenant=tenant, provider=provider),
            "domains": DomainsForm(initial={"domains": domains}),
            "remove": ProviderRemoveForm(provider=provider),
            "callback": self._callback(provider),
            "here": reverse("identity-provider", args=[tenant.slug, provider.id]),
        }
        return self.page({**known, **context}, template=ProviderView.template_name, status=status)

    def _callback(self, provider: IdentityProvider) -> str:
        """What its administrator must be told."""
        if provider.kind == IdentityProvider.Kind.OIDC:
            path = reverse("openid_connect_callback", args=[provider.id])
        else:
            path = reverse("saml_metadata", args=[provider.id])
        return self.request.build_absolute_uri(path)


class ProviderDomainsView(ProviderView):
    """Whose addresses these are: the MSP's to say."""

    permission = "policy.manage"
    http_method_names = ["post"]

    def post(self, request: HttpRequest, customer: str, provider_id: uuid.UUID) -> HttpResponse:
        provider = self.provider(self.tenant(customer), provider_id)
        form = DomainsForm(request.POST)
        if not form.is_valid():
            return self.shown(provider, domains=form, status=422)
        try:
            identity_provider_domains_set(
                actor=self.actor, provider=provider, domains=form.cleaned_data["domains"]
            )
        except RuleError as refusal:
            tell_form(form, refusal)
            return self.shown(provider, domains=form, status=422)
        self.attempt(lambda: "The domains are changed.")
        return redirect("identity-provider", customer=customer, provider_id=provider_id)


class ProviderRemoveView(ProviderView):
    permission = "policy.manage"
    http_method_names = ["post"]

    def post(self, request: HttpRequest, customer: str, provider_id: uuid.UUID) -> HttpResponse:
        provider = self.provider(self.tenant(customer), provider_id)
        form = ProviderRemoveForm(request.POST, provider=provider)
        if not form.is_valid():
            return self.shown(provider, remove=form, open_dialog="remove", status=422)

        def remove() -> str:
            identity_provider_remove(actor=self.actor, provider=provider)
            return f"Nobody signs in with {form.cleaned_data['name']} any more."

        self.attempt(remove)
        return redirect("sign-in-policy", customer=customer)


def _known(kind: str) -> str:
    if kind not in IdentityProvider.Kind.values:
        raise Http404
    return kind


def _fields(form: ProviderForm) -> dict[str, Any]:
    data = dict(form.cleaned_data)
    role = data.pop("default_role")
    return {**data, "default_role": uuid.UUID(role) if role else None}
