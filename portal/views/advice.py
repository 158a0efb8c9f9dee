"""What to do next after a job went wrong: the host's sentence says what happened."""

from hypervisors.models import Job, Status

_BY_CODE = {
    "image_checksum_mismatch": "The file at the image's URL is not the one that was registered. "
    "If its maker replaced it, add the image again with the new SHA-256.",
    "image_not_a_disk": "Add the image again, from a qcow2 or raw disk image that boots.",
    "image_unreachable": "Check the image's URL from the site's network, and the host's DNS and "
    "firewall. Then try again.",
    "not_enough_memory": "Give the VM less memory, shut down or resize another VM of the host, "
    "or choose another host.",
    "not_enough_disk": "Make the disks smaller, delete what is not needed on the host, or choose "
    "another host.",
    "libvirt_down": "Sign in to the host and look at “systemctl status libvirtd”. When it runs "
    "again, try again.",
    "bridge_missing": "Make the bridge on the host, or put the VM on another network.",
    "mtu_too_big": "Lower the network's MTU on its page, or raise that of the bridge on the host.",
    "vlan_in_use": "Remove the link on the host, or put the VM on another network.",
    "bridge_down": "Bring the bridge up on the host, then try again.",
    "vlan_unsupported": "Load the kernel module 8021q on the host, then try again.",
    "subnet_in_use": "Give the VM another network, whose subnet the host has no route to.",
    "no_free_slot": "Shut the VM down, add the NIC, and start it again.",
    "guest_kept_nic": "Try again in a minute. If it keeps it, shut the VM down and remove the NIC "
    "then.",
    "nic_not_found": "Look at the VM's page: somebody removed the NIC meanwhile.",
    "guest_did_not_stop": "The guest did not react to the power button. Look at its console, or "
    "use “Force off”.",
    "vm_not_found": "The VM is not on the host any more. If it was removed by hand, delete it "
    "here too.",
    "secrets_unreadable": "Give the password and the script again: they are sealed to this host "
    "alone.",
    "secrets_invalid": "Give the password and the script again, within their limits.",
    "password_invalid": "Choose another password, and try again.",
    "vm_must_be_off": "Shut the VM down, then try again.",
    "address_private": "The image's URL leads into a private network. Use a public address, or "
    "upload the image.",
    "interrupted": "The host stopped in the middle of it, and has cleaned up. Try again.",
    "internal": "The agent's log on the host says more: “journalctl -u basalt-agent”.",
}
_BY_STATUS = {
    Status.EXPIRED: "The host did not come online in time, and nothing was done. Check its power "
    "and its internet connection, then try again.",
    Status.LOST: "The host took the job and has not been heard of since. When it comes back, it "
    "tells how it ended, and this page shows it.",
    Status.CANCELLED: "Nothing was done on the host.",
    Status.FAILED: "Try again; if it fails the same way, look at the agent's log on the host: "
    "“journalctl -u basalt-agent”.",
}


def advice_for(job: Job) -> str:
    """One sentence or two, for a job that did not succeed."""
    status = Status(job.status)
    if status == Status.FAILED:
        return _BY_CODE.get(job.error_code, _BY_STATUS[status])
    return _BY_STATUS[status]
