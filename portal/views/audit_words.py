"""What the audit log's actions and things are called on pages."""

from types import MappingProxyType

ACTIONS = MappingProxyType(
    {
        "access.refuse": "Was refused",
        "api_token.create": "Made an API token",
        "api_token.revoke": "Revoked an API token",
        "consent.approve": "Approved a console",
        "consent.ask": "Asked to open a console",
        "consent.end": "Took an approval back",
        "consent.refuse": "Refused a console",
        "consent.rule": "Changed what needs approval",
        "hypervisor.enrol": "Enrolled a host",
        "hypervisor.remove": "Removed a host",
        "hypervisor.rename": "Renamed a host",
        "image.create": "Added an image",
        "image.identity": "Changed what VMs of an image look for",
        "image.retire": "Retired an image",
        "invitation.accept": "Accepted an invitation",
        "invitation.create": "Invited somebody",
        "invitation.renew": "Sent an invitation again",
        "invitation.revoke": "Took an invitation back",
        "job.cancel": "Took back",
        "join_token.create": "Made a join token",
        "join_token.revoke": "Revoked a join token",
        "list.export": "Exported a list",
        "membership.create": "Gave a role",
        "membership.end": "Ended a membership",
        "network.create": "Added a network",
        "network.remove": "Removed a network",
        "site.change": "Changed a site",
        "site.create": "Added a site",
        "site.remove": "Removed a site",
        "tenant.create": "Added a customer",
        "tenant.remove": "Deleted a customer",
        "tenant.rename": "Renamed a customer",
        "user.change": "Changed their account",
        "user.password": "Changed a password",
        "user.sign_in": "Signed in",
        "user.sign_in_failed": "Failed to sign in",
        "user.sign_out": "Signed out",
        "vm.console": "Opened a console",
        "vm.console_close": "Closed a console",
        "vm.create": "Created a VM",
        "vm.delete": "Deleted a VM",
        "vm.forget": "Forgot a VM",
        "vm.reboot": "Rebooted a VM",
        "vm.rename": "Renamed a VM",
        "vm.resize": "Resized a VM",
        "vm.shutdown": "Shut down a VM",
        "vm.start": "Started a VM",
        "vm.stop": "Forced off a VM",
    }
)
KINDS = MappingProxyType(
    {
        "api_token": "API token",
        "hypervisor": "Host",
        "image": "Image",
        "invitation": "Invitation",
        "job": "Job",
        "join_token": "Join token",
        "list": "List",
        "network": "Network",
        "page": "Page",
        "site": "Site",
        "tenant": "Customer",
        "user": "Person",
        "vm": "VM",
    }
)


def action_words(action: str) -> str:
    """ "vm.create" to "Created a VM"; of one that has no words, its own made readable."""
    known = ACTIONS.get(action)
    return known or action.replace("_", " ").replace(".", ": ").capitalize()


def kind_words(kind: str) -> str:
    return KINDS.get(kind) or kind.replace("_", " ").capitalize()
