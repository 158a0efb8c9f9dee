"""Configuration of the portal, read from the environment.

Every name has the prefix BASALT_, but for DATABASE_URL and REDIS_URL, which go by the
names that hosting platforms use.
"""

from pathlib import Path
from urllib.parse import quote

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent


class PortalConfig(BaseSettings):
    """What an operator can set. The defaults suit the private services of script/up."""

    model_config = SettingsConfigDict(env_prefix="BASALT_", extra="ignore")

    data_dir: Path = ROOT / "var"
    """Where uploaded images, keys and the private PostgreSQL and Redis live."""
    origin: str = "http://127.0.0.1:8000"
    """The address people and agents use, without a slash at the end."""
    extra_hosts: list[str] = []
    """More host names the portal answers to, without port."""
    secret_key: SecretStr | None = None
    """Django's secret key; without it, the one kept in DATA/secret_key."""
    debug: bool = False
    email_url: str = "console://"
    """The mail server: smtp://…, or smtp+tls://user:password@host:587. Without one, the portal
    shows the links that it would have sent."""
    email_from: str = ""
    """The sender of the portal's messages; empty: basalt@ and the host name of the origin."""
    allow_private_image_urls: bool = False
    """Let images come from private addresses: for a mirror inside the portal's network."""
    max_image_bytes: int = 64 * 1024**3
    breached_passwords_url: str = ""
    """Where new passwords are looked up among breached ones, such as
    https://api.pwnedpasswords.com/range/; empty: among the built-in 20,000 alone."""
    allow_private_provider_urls: bool = False
    """Let identity providers be at private addresses: for a directory inside the network."""
    api_calls_per_minute: int = 1200
    """Of one token, or of one person's browser; 0: no limit."""
    security_contact: str = ""
    """Whom to tell of a weakness in this portal: mailto:… or https://…, for security.txt."""
    job_deadline_s: int = 3600
    host_lease_s: int = 60
    """A host that has said nothing for this long is shown as offline."""
    audit_checkpoint_dir: Path | None = None
    """Where signed checkpoints of the audit log go each hour: a folder of another machine."""
    audit_checkpoint_email: str = ""
    """Who gets them by mail."""
    audit_checkpoint_url: str = ""
    """Where they are sent by POST, as lines of JSON."""
    database_pool: bool = False
    """Share database connections between requests. For the web process; workers fork."""

    database_url: str | None = Field(default=None, validation_alias="DATABASE_URL")
    owner_database_url: str | None = None
    """The same database, as the role that owns its tables. For migrations alone: the web
    processes and the workers do not need it, and are better off without."""
    redis_url: str | None = Field(default=None, validation_alias="REDIS_URL")

    def database_conninfo(self) -> str:
        """A libpq connection string."""
        return self.database_url or self._private("basalt")

    def owner_conninfo(self) -> str | None:
        """The same as the owner of the tables. None where nobody said how to be that one."""
        if self.owner_database_url or self.database_url:
            return self.owner_database_url
        return self._private("basalt_owner")

    def _private(self, role: str) -> str:
        folder = quote(str(self.data_dir / "run" / "postgres"), safe="")
        return f"postgresql:///basalt?host={folder}&user={role}"

    def redis_address(self) -> str:
        """A redis-py URL: redis://, rediss:// or unix://."""
        socket = quote(str(self.data_dir / "run" / "redis" / "redis.sock"))
        return self.redis_url or f"unix://{socket}"
