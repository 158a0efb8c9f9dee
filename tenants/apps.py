from django.apps import AppConfig
from django.db.models.signals import post_migrate


class TenantsConfig(AppConfig):
    name = "tenants"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        import tenants.checks  # noqa: F401 - registers itself
        from tenants.database.privileges import privileges_after_migrate
        from tenants.services.rechecks import rechecks_connect
        from tenants.services.roles import roles_after_migrate
        from tenants.services.second_person_rules import kinds_register
        from tenants.services.sign_in_events import sign_in_events_connect

        sign_in_events_connect()
        rechecks_connect()
        kinds_register()
        post_migrate.connect(roles_after_migrate, sender=self)
        post_migrate.connect(privileges_after_migrate, sender=self)
