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
        "network.change": "Changed a network",
        "network.remove": "Removed a network",
        "quota.remove": "Removed a quota",
        "quota.set": "Set a quota",
        "second_person.agree": "Agreed as a second person",
        "second_person.ask": "Asked a second person",
        "second_person.done": "Had done what two agreed on",
        "second_person.refuse": "Refused as a second person",
        "second_person.rule": "Changed when two must agree",
        "second_person.withdraw": "Took back what a second person was asked",
        "service_account.change": "Changed a service account",
        "service_account.close": "Closed a service account",
        "service_account.create": "Made a service account",
        "service_account.delete": "Deleted a service account",
        "service_account.open": "Opened a service account again",
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
        "user.sign_out_everywhere": "Ended all sessions",
        "vm.console": "Opened a console",
        "vm.console_close": "Closed a console",
        "vm.create": "Created a VM",
        "vm.delete": "Deleted a VM",
        "vm.first_boot": "Had a VM's first boot run again",
        "vm.forget": "Forgot a VM",
        "vm.nic-add": "Added a NIC to a VM",
        "vm.nic-change": "Changed a NIC of a VM",
        "vm.nic-remove": "Removed a NIC from a VM",
        "vm.reboot": "Rebooted a VM",
        "vm.rename": "Renamed a VM",
        "vm.reset_password": "Reset a VM's password",
        "vm.resize": "Resized a VM",
        "vm.shutdown": "Shut down a VM",
        "vm.start": "Started a VM",
        "vm.stop": "Forced off a VM",
        "vm.tell": "Changed what a VM is told",
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
        "quota": "Quota",
        "second_person": "Second person",
        "service_account": "Service account",
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
