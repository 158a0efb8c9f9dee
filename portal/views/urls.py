"""The pages. Addresses are readable and stay: /c/<customer>/vms/<name>/."""

from django.urls import URLPattern, URLResolver, path, register_converter

from portal.views import (
    account,
    activity,
    approvals,
    audit,
    console,
    custom_fields,
    customers,
    dashboard,
    hosts,
    hosts_bulk,
    images,
    images_bulk,
    invitations,
    invited,
    memberships,
    networks,
    nics,
    people,
    quotas,
    roles,
    saved_views,
    search,
    second_person,
    see_as,
    service_accounts,
    sites,
    tokens,
    vm,
    vm_create,
    vms,
    vms_bulk,
)


class PowerAction:
    """A word of VmPowerView.actions."""

    regex = "|".join(vm.VmPowerView.actions)

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(PowerAction, "power")

_VM = "c/<slug:customer>/vms/<slug:name>/"
_HOST = "c/<slug:customer>/hosts/<slug:name>/"
_PERSON = "people/<uuid:user_id>/"
_SERVICE = "service-accounts/<uuid:account_id>/"
_SITE = "c/<slug:customer>/sites/<slug:site>/"

urlpatterns: list[URLPattern | URLResolver] = [
    path("", dashboard.DashboardView.as_view(), name="dashboard"),
    path("invited/<str:secret>/", invited.InvitedView.as_view(), name="invitation-accept"),
    path("search/", search.SearchView.as_view(), name="search"),
    path("customers/", customers.CustomersView.as_view(), name="customers"),
    path("customers/new/", customers.CustomerCreateView.as_view(), name="customer-new"),
    path("c/<slug:customer>/", customers.CustomerView.as_view(), name="customer"),
    path(
        "c/<slug:customer>/rename/", customers.CustomerRenameView.as_view(), name="customer-rename"
    ),
    path(
        "c/<slug:customer>/remove/", customers.CustomerRemoveView.as_view(), name="customer-remove"
    ),
    path("c/<slug:customer>/move/", customers.CustomerMoveView.as_view(), name="customer-move"),
    path(
        "c/<slug:customer>/fields/",
        custom_fields.CustomerFieldsView.as_view(),
        name="customer-fields",
    ),
    path(
        "c/<slug:customer>/vendor-data/",
        custom_fields.VendorDataView.as_view(),
        name="vendor-data",
    ),
    path("sites/", sites.SitesView.as_view(), name="sites"),
    path("sites/new/", sites.SiteCreateView.as_view(), name="site-new"),
    path(_SITE, sites.SiteView.as_view(), name="site"),
    path(f"{_SITE}fields/", custom_fields.SiteFieldsView.as_view(), name="site-fields"),
    path(f"{_SITE}change/", sites.SiteChangeView.as_view(), name="site-change"),
    path(f"{_SITE}remove/", sites.SiteRemoveView.as_view(), name="site-remove"),
    path(f"{_SITE}join-tokens/", sites.JoinTokenCreateView.as_view(), name="join-token-new"),
    path(
        f"{_SITE}join-tokens/<uuid:token_id>/",
        sites.JoinTokenView.as_view(),
        name="join-token",
    ),
    path(
        f"{_SITE}join-tokens/<uuid:token_id>/revoke/",
        sites.JoinTokenRevokeView.as_view(),
        name="join-token-revoke",
    ),
    path("quotas/", quotas.QuotasView.as_view(), name="quotas"),
    path("quotas/new/", quotas.QuotaNewView.as_view(), name="quota-new"),
    path("quotas/<uuid:quota_id>/", quotas.QuotaChangeView.as_view(), name="quota-change"),
    path("quotas/<uuid:quota_id>/remove/", quotas.QuotaRemoveView.as_view(), name="quota-remove"),
    path("hosts/", hosts.HostsView.as_view(), name="hosts"),
    path("hosts/bulk/", hosts_bulk.HostBulkView.as_view(), name="host-bulk"),
    path(_HOST, hosts.HostView.as_view(), name="host"),
    path(f"{_HOST}rename/", hosts.HostRenameView.as_view(), name="host-rename"),
    path(f"{_HOST}remove/", hosts.HostRemoveView.as_view(), name="host-remove"),
    path(f"{_HOST}forget/", hosts.HostForgetView.as_view(), name="host-forget"),
    path(f"{_HOST}networks/", networks.NetworkCreateView.as_view(), name="network-new"),
    path(f"{_HOST}networks/<uuid:network_id>/", networks.NetworkView.as_view(), name="network"),
    path(
        f"{_HOST}networks/<uuid:network_id>/change/",
        networks.NetworkChangeView.as_view(),
        name="network-change",
    ),
    path(
        f"{_HOST}networks/<uuid:network_id>/remove/",
        networks.NetworkRemoveView.as_view(),
        name="network-remove",
    ),
    path("vms/", vms.VmsView.as_view(), name="vms"),
    path("vms/new/", vm_create.VmCreateView.as_view(), name="vm-new"),
    path("vms/new/preview/", vm_create.VmPreviewView.as_view(), name="vm-preview"),
    path("vms/bulk/", vms_bulk.VmBulkView.as_view(), name="vm-bulk"),
    path("vms/bulk/delete/", vms_bulk.VmBulkDeleteView.as_view(), name="vm-bulk-delete"),
    path(_VM, vm.VmView.as_view(), name="vm"),
    path(f"{_VM}power/<power:action>/", vm.VmPowerView.as_view(), name="vm-power"),
    path(f"{_VM}resize/", vm.VmResizeView.as_view(), name="vm-resize"),
    path(f"{_VM}rename/", vm.VmRenameView.as_view(), name="vm-rename"),
    path(f"{_VM}tell/", vm.VmTellView.as_view(), name="vm-tell"),
    path(f"{_VM}password/", vm.VmPasswordView.as_view(), name="vm-password"),
    path(f"{_VM}first-boot/", vm.VmFirstBootView.as_view(), name="vm-first-boot"),
    path(f"{_VM}delete/", vm.VmDeleteView.as_view(), name="vm-delete"),
    path(f"{_VM}nics/", nics.NicAddView.as_view(), name="nic-new"),
    path(f"{_VM}nics/<uuid:nic_id>/", nics.NicView.as_view(), name="nic"),
    path(f"{_VM}nics/<uuid:nic_id>/change/", nics.NicChangeView.as_view(), name="nic-change"),
    path(f"{_VM}nics/<uuid:nic_id>/remove/", nics.NicRemoveView.as_view(), name="nic-remove"),
    path(f"{_VM}console/", console.ConsoleView.as_view(), name="console"),
    path(f"{_VM}console/ticket/", console.ConsoleTicketView.as_view(), name="console-ticket"),
    path(f"{_VM}console/ask/", approvals.ConsentAskView.as_view(), name="consent-ask"),
    path("approvals/", approvals.ApprovalsView.as_view(), name="approvals"),
    path("approvals/rules/", approvals.ConsentRuleView.as_view(), name="consent-rule"),
    path(
        "approvals/second-person/",
        second_person.SecondPersonView.as_view(),
        name="second-person",
    ),
    path(
        "approvals/second-person/ask/",
        second_person.SecondPersonAskView.as_view(),
        name="second-person-ask",
    ),
    path(
        "approvals/second-person/rules/",
        second_person.SecondPersonRuleView.as_view(),
        name="second-person-rule",
    ),
    path("images/", images.ImagesView.as_view(), name="images"),
    path("images/bulk/", images_bulk.ImageBulkView.as_view(), name="image-bulk"),
    path("images/new/", images.ImageUrlView.as_view(), name="image-new"),
    path("images/upload/", images.ImageUploadView.as_view(), name="image-upload"),
    path(
        "images/<uuid:image_id>/versions/",
        images.ImageVersionView.as_view(),
        name="image-version",
    ),
    path(
        "images/<uuid:image_id>/identity/",
        images.ImageIdentityView.as_view(),
        name="image-identity",
    ),
    path("images/<uuid:image_id>/retire/", images.ImageRetireView.as_view(), name="image-retire"),
    path("activity/", activity.ActivityView.as_view(), name="activity"),
    path("activity/bulk/", activity.JobBulkView.as_view(), name="job-bulk"),
    path("activity/<uuid:job_id>/", activity.JobView.as_view(), name="job"),
    path("activity/<uuid:job_id>/cancel/", activity.JobCancelView.as_view(), name="job-cancel"),
    path("people/", people.PeopleView.as_view(), name="people"),
    path("people/<uuid:person_id>/", people.PersonView.as_view(), name="person"),
    path("people/<uuid:person_id>/leave/", people.PersonLeaveView.as_view(), name="person-leave"),
    path(
        "people/<uuid:person_id>/sign-out/",
        people.PersonSignOutView.as_view(),
        name="person-sign-out",
    ),
    path("invitations/", invitations.InvitationsView.as_view(), name="invitations"),
    path("invitations/new/", invitations.InvitationCreateView.as_view(), name="invitation-new"),
    path(
        "invitations/<uuid:invitation_id>/renew/",
        invitations.InvitationRenewView.as_view(),
        name="invitation-renew",
    ),
    path(
        "invitations/<uuid:invitation_id>/revoke/",
        invitations.InvitationRevokeView.as_view(),
        name="invitation-revoke",
    ),
    path("audit/", audit.AuditView.as_view(), name="audit"),
    path("audit/<uuid:audit_event_id>/", audit.AuditEventView.as_view(), name="audit-event"),
    path("roles/", roles.RolesView.as_view(), name="roles"),
    path("roles/new/", roles.RoleCreateView.as_view(), name="role-new"),
    path("roles/<uuid:role_id>/", roles.RoleChangeView.as_view(), name="role-change"),
    path("roles/<uuid:role_id>/delete/", roles.RoleDeleteView.as_view(), name="role-delete"),
    path(f"{_PERSON}reach/", memberships.PersonReachView.as_view(), name="person-reach"),
    path(f"{_PERSON}see-as/", see_as.SeeAsStartView.as_view(), name="see-as"),
    path("see-as/stop/", see_as.SeeAsStopView.as_view(), name="see-as-stop"),
    path(f"{_PERSON}memberships/", memberships.MembershipAddView.as_view(), name="membership-new"),
    path(f"{_PERSON}denials/", memberships.DenialAddView.as_view(), name="denial-new"),
    path(f"{_PERSON}grants/", memberships.GrantAddView.as_view(), name="grant-new"),
    path(
        "memberships/<uuid:membership_id>/change/",
        memberships.MembershipChangeView.as_view(),
        name="membership-change",
    ),
    path(
        "memberships/<uuid:membership_id>/end/",
        memberships.MembershipEndView.as_view(),
        name="membership-end",
    ),
    path(
        "access-rules/<uuid:rule_id>/end/",
        memberships.AccessRuleEndView.as_view(),
        name="access-rule-end",
    ),
    path("views/", saved_views.SavedViewSaveView.as_view(), name="view-save"),
    path(
        "views/<uuid:view_id>/rename/",
        saved_views.SavedViewRenameView.as_view(),
        name="view-rename",
    ),
    path(
        "views/<uuid:view_id>/default/",
        saved_views.SavedViewDefaultView.as_view(),
        name="view-default",
    ),
    path(
        "views/<uuid:view_id>/delete/",
        saved_views.SavedViewDeleteView.as_view(),
        name="view-delete",
    ),
    path("me/", account.AccountView.as_view(), name="account"),
    path("me/tokens/", tokens.TokensView.as_view(), name="tokens"),
    path(
        "me/tokens/<uuid:token_id>/revoke/", tokens.TokenRevokeView.as_view(), name="token-revoke"
    ),
    path(
        "people/<uuid:person_id>/tokens/<uuid:token_id>/revoke/",
        tokens.PersonTokenRevokeView.as_view(),
        name="person-token-revoke",
    ),
    path(
        "service-accounts/",
        service_accounts.ServiceAccountsView.as_view(),
        name="service-accounts",
    ),
    path(
        "service-accounts/new/",
        service_accounts.ServiceAccountCreateView.as_view(),
        name="service-account-new",
    ),
    path(_SERVICE, service_accounts.ServiceAccountView.as_view(), name="service-account"),
    path(
        f"{_SERVICE}change/",
        service_accounts.ServiceAccountChangeView.as_view(),
        name="service-account-change",
    ),
    path(
        f"{_SERVICE}close/",
        service_accounts.ServiceAccountCloseView.as_view(),
        name="service-account-close",
    ),
    path(
        f"{_SERVICE}open/",
        service_accounts.ServiceAccountOpenView.as_view(),
        name="service-account-open",
    ),
    path(
        f"{_SERVICE}delete/",
        service_accounts.ServiceAccountDeleteView.as_view(),
        name="service-account-delete",
    ),
    path(
        f"{_SERVICE}tokens/",
        service_accounts.ServiceAccountTokenView.as_view(),
        name="service-account-token",
    ),
    path(
        f"{_SERVICE}tokens/<uuid:token_id>/revoke/",
        service_accounts.ServiceAccountTokenRevokeView.as_view(),
        name="service-account-token-revoke",
    ),
]
