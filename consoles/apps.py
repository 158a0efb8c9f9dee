from django.apps import AppConfig


class ConsolesConfig(AppConfig):
    name = "consoles"
    default_auto_field = "django.db.models.BigAutoField"
