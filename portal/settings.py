"""Django's settings. What an operator may change is in portal/config.py."""

from typing import Any
from urllib.parse import urlsplit

import structlog
from csp.constants import NONCE, NONE, SELF
from django.core.management.utils import get_random_secret_key
from psycopg.conninfo import conninfo_to_dict

from portal.config import ROOT, PortalConfig
from portal.log_secrets import without_secrets

CONFIG = PortalConfig()
BASE_DIR = ROOT
DATA_DIR = CONFIG.data_dir.resolve()
DEBUG = CONFIG.debug

BASALT_ORIGIN = CONFIG.origin
BASALT_ALLOW_PRIVATE_IMAGE_URLS = CONFIG.allow_private_image_urls
BASALT_ALLOW_PRIVATE_PROVIDER_URLS = CONFIG.allow_private_provider_urls
BASALT_MAX_IMAGE_BYTES = CONFIG.max_image_bytes
BASALT_JOB_DEADLINE_S = CONFIG.job_deadline_s
BASALT_HOST_LEASE_S = CONFIG.host_lease_s
BASALT_API_CALLS_PER_MINUTE = CONFIG.api_calls_per_minute
BASALT_SECURITY_CONTACT = CONFIG.security_contact
BASALT_AUDIT_CHECKPOINT_DIR = CONFIG.audit_checkpoint_dir
BASALT_AUDIT_CHECKPOINT_EMAIL = CONFIG.audit_checkpoint_email
BASALT_AUDIT_CHECKPOINT_URL = CONFIG.audit_checkpoint_url


def _secret_key() -> str:
    if CONFIG.secret_key is not None:
        return CONFIG.secret_key.get_secret_value()
    path = DATA_DIR / "secret_key"
    if not path.exists():
        DATA_DIR.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
        path.write_text(get_random_secret_key())
    return path.read_text().strip()


SECRET_KEY = _secret_key()

_origin = urlsplit(BASALT_ORIGIN)
ALLOWED_HOSTS = [_origin.hostname or "localhost", "localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS += CONFIG.extra_hosts
CSRF_TRUSTED_ORIGINS = [BASALT_ORIGIN]
_secure = _origin.scheme == "https"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _secure
# Browsers take a cookie of such a name only from this very host, over TLS (RFC 6265bis, 4.1.3).
_host_prefix = "__Host-" if _secure else ""
SESSION_COOKIE_NAME = f"{_host_prefix}sessionid"
CSRF_COOKIE_NAME = f"{_host_prefix}csrftoken"
BASALT_DEVICE_COOKIE_NAME = f"{_host_prefix}device"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
# Not "Strict": a link in a mail would lead to the sign-in page, and providers send people back.
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_HSTS_SECONDS = 31_536_000 if _secure else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = _secure
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _secure else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "django_tables2",
    "django_htmx",
    "guardian",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.socialaccount.providers.saml",
    "allauth.usersessions",
    "csp",
    "tenants",
    "hypervisors",
    "vms",
    "consoles",
    "portal",
]

MIDDLEWARE = [
    "tenants.middleware.NothingMiddleware",
    "portal.headers.HeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    # Around the files too: nobody shall frame them either.
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.see_as.SeeAsMiddleware",
    "tenants.middleware.ScopeMiddleware",
    "tenants.middleware.SignInGateMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "tenants.middleware.ActorMiddleware",
    "tenants.refusals.RefusalMiddleware",
]

ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "portal.context.navigation",
            ],
        },
    },
]


def _connection(conninfo: str) -> dict[str, Any]:
    """Django's words for a libpq connection string."""
    parts = dict(conninfo_to_dict(conninfo))
    return {
        "NAME": parts.pop("dbname", "basalt"),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "OPTIONS": parts,
    }


_database = _connection(CONFIG.database_conninfo())
_owner = CONFIG.owner_conninfo()
# Under ASGI every request has a thread of its own: a pool, rather than a connection each.
_pool: dict[str, Any] = {}
if CONFIG.database_pool:
    # No single statement of a request may hold its connection for longer than a person waits.
    _bound = f"{_database['OPTIONS'].get('options', '')} -c statement_timeout=60s".strip()
    _pool = {"pool": {"min_size": 2, "max_size": 20, "timeout": 10}, "options": _bound}
DATABASES = {
    "default": {
        **_database,
        "ENGINE": "tenants.database",
        "OPTIONS": {**_database["OPTIONS"], **_pool},
    },
}
BASALT_OWNER_DATABASE = _connection(_owner) if _owner else None
"""The role that owns the tables: for `migrate` alone, see tenants/database/owner.py."""
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_ADDRESS = CONFIG.redis_address()
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        # redis-py 8 gives sockets a timeout of 5 s by default, which breaks an idle layer.
        "CONFIG": {"hosts": [{"address": REDIS_ADDRESS, "socket_timeout": None}]},
    },
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_ADDRESS,
        "KEY_PREFIX": "basalt",
    },
}

CELERY_BROKER_URL = REDIS_ADDRESS.replace("unix://", "redis+socket://", 1)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULE = {
    "push-waiting-jobs": {"task": "hypervisors.tasks.push_waiting_jobs", "schedule": 5.0},
    "expire-jobs": {"task": "hypervisors.tasks.expire_jobs", "schedule": 15.0},
    "sweep-image-files": {"task": "vms.tasks.sweep_image_files", "schedule": 3600.0},
    "thin-out-host-usage": {"task": "hypervisors.tasks.thin_out_host_usage", "schedule": 300.0},
    "thin-out-vm-usage": {"task": "vms.tasks.thin_out_vm_usage", "schedule": 300.0},
    "sweep-tenant-sets": {"task": "tenants.tasks.sweep_tenant_sets", "schedule": 86_400.0},
    "make-audit-checkpoints": {
        "task": "tenants.tasks.make_audit_checkpoints",
        "schedule": 3600.0,
    },
    "verify-audit-log": {"task": "tenants.tasks.verify_audit_log", "schedule": 86_400.0},
    "recheck-ended": {"task": "tenants.tasks.recheck_ended_memberships", "schedule": 15.0},
    "resume-agreed": {"task": "tenants.tasks.resume_agreed", "schedule": 60.0},
    "tell-of-ending-tokens": {
        "task": "tenants.tasks.tell_of_ending_tokens",
        "schedule": 3600.0,
    },
    "sweep-sessions": {"task": "tenants.tasks.sweep_sessions", "schedule": 86_400.0},
    "mark-silent-hosts": {"task": "hypervisors.tasks.mark_silent_hosts", "schedule": 15.0},
}

AUTH_USER_MODEL = "tenants.User"
AUTHENTICATION_BACKENDS = [
    "allauth.account.auth_backends.AuthenticationBackend",
    "guardian.backends.ObjectPermissionBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "portal.context_words.ContextWordsValidator"},
]
if CONFIG.breached_passwords_url:
    AUTH_PASSWORD_VALIDATORS += [
        {
            "NAME": "portal.breached_passwords.BreachedPasswordValidator",
            "OPTIONS": {"url": CONFIG.breached_passwords_url},
        }
    ]
ANONYMOUS_USER_NAME = None
GUARDIAN_MONKEY_PATCH_USER = False
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
from portal.sign_in_settings import *  # noqa: E402, F403

DEFAULT_FROM_EMAIL = CONFIG.email_from or f"Basalt <basalt@{_origin.hostname or 'localhost'}>"
_email = urlsplit(CONFIG.email_url)
EMAIL_BACKEND = (
    "django.core.mail.backends.smtp.EmailBackend"
    if _email.scheme.startswith("smtp")
    else "django.core.mail.backends.console.EmailBackend"
)
EMAIL_HOST = _email.hostname or "localhost"
EMAIL_PORT = _email.port or 25
EMAIL_HOST_USER = _email.username or ""
EMAIL_HOST_PASSWORD = _email.password or ""
EMAIL_USE_TLS = _email.scheme == "smtp+tls"
EMAIL_TIMEOUT = 10

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "tenants.api.authentication.TokenAuthentication",
        "tenants.api.authentication.BrowserAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "tenants.api.pagination.KeysetPagination",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["tenants.api.parsers.BoundedJsonParser"],
    "EXCEPTION_HANDLER": "tenants.api.errors.exception_handler",
    "PAGE_SIZE": 50,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Basalt API",
    "DESCRIPTION": "Everything the portal's pages can do. Send `Authorization: Bearer YOUR_TOKEN`.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "portal.api.schema.describe_errors",
    ],
    "ENUM_NAME_OVERRIDES": {
        "BootStageStatusEnum": "vms.api.telling_serializers.STAGE_STATUSES",
        "JobStatusEnum": "hypervisors.models.Status",
        "ConsentStateEnum": "consoles.models.ConsentRequest.State",
        "InvitationStateEnum": "tenants.models.Invitation.State",
        "TenantKindEnum": "tenants.models.Tenant.Kind",
        "NetworkKindEnum": "hypervisors.models.Network.Kind",
        "ConsoleKindEnum": "consoles.models.ConsoleTicket.Kind",
        "IdentityProviderKindEnum": "tenants.models.IdentityProvider.Kind",
    },
}

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "staticfiles"
# static/src is what esbuild makes static/dist from: not for browsers.
STATICFILES_DIRS = [(name, BASE_DIR / "static" / name) for name in ("dist", "img")]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_KEEP_ONLY_HASHED_FILES = False
MEDIA_ROOT = DATA_DIR / "media"
"""Image files. They are never served by URL: the host's signed request is the only way."""
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024**2
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024**2
FILE_UPLOAD_TEMP_DIR = str(DATA_DIR / "tmp")
"""Beside MEDIA_ROOT, so that an upload is linked there rather than copied."""
(DATA_DIR / "tmp").mkdir(parents=True, exist_ok=True)
FILE_UPLOAD_HANDLERS = [
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "portal.uploads.TidyTemporaryFileUploadHandler",
]

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF, NONCE],
        # Tabler and noVNC set style attributes; scripts stay strict.
        "style-src-attr": ["'unsafe-inline'"],
        "img-src": [SELF, "data:", "blob:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}

DJANGO_TABLES2_TEMPLATE = "components/table.html"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        without_secrets,
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": structlog.stdlib.ProcessorFormatter,
            # Plain: the rich one prints local variables, and with them passwords.
            "processor": structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            ),
        },
    },
    "filters": {"without_secrets": {"()": "portal.log_secrets.WithoutSecrets"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["without_secrets"],
        }
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
