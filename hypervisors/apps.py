from django.apps import AppConfig


class HypervisorsConfig(AppConfig):
    name = "hypervisors"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from hypervisors.services.second_person_kinds import second_person_kinds_register

        second_person_kinds_register()
