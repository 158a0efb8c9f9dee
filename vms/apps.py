from django.apps import AppConfig


class VmsConfig(AppConfig):
    name = "vms"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from hypervisors.services.observers import network_observer_register
        from vms.services.job_kinds import job_kinds_register
        from vms.services.nic_job_kinds import nic_job_kinds_register
        from vms.services.nics import network_told
        from vms.services.observing import guest_observer_install
        from vms.services.quotas import move_check_install
        from vms.services.second_person_kinds import second_person_kinds_register

        job_kinds_register()
        nic_job_kinds_register()
        network_observer_register(network_told)
        guest_observer_install()
        move_check_install()
        second_person_kinds_register()
