"""Reading the configuration: the command line, then BASALT_AGENT_*, then agent.json.

Only the short-lived commands import this: a running agent gets the finished `Settings`,
because the library that reads them costs ten megabytes for the life of the process.
"""

from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    JsonConfigSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from agent.files import write_atomically
from agent.settings import Identity, Settings

CONFIG_FILE = "agent.json"


class ConfigError(RuntimeError):
    """The configuration is missing or wrong."""


class AgentSettings(BaseSettings):
    """The configuration of one host. Environment variables carry the prefix BASALT_AGENT_."""

    model_config = SettingsConfigDict(env_prefix="BASALT_AGENT_", extra="ignore")

    data: Path
    portal: str
    origin: str
    hypervisor_id: str
    name: str
    libvirt_uri: str = "qemu:///system"
    stop_guests_on_exit: bool = False
    allow_private_image_urls: bool = False
    metadata_user: str = "nobody"
    log_level: str = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line over environment over file."""
        data = Path(init_settings()["data"])
        file = JsonConfigSettingsSource(settings_cls, json_file=data / CONFIG_FILE)
        return init_settings, env_settings, file


def read_settings(data: Path, **options: Any) -> Settings:
    """The settings of the agent whose folder is `data`; None among options means unset.

    Raises ConfigError.
    """
    data = data.resolve()
    path = data / CONFIG_FILE
    if not path.exists():
        raise ConfigError(
            f"This host is not enrolled: {path} does not exist. Run `python -m agent enrol "
            f"--portal URL --token TOKEN --data {data}` first, with a join token from the "
            "portal."
        )
    given = {key: value for key, value in options.items() if value is not None}
    try:
        values = AgentSettings(data=data, **given)
    except (ValidationError, ValueError) as error:
        raise ConfigError(
            f"The configuration in {path} or in the BASALT_AGENT_ variables is not usable: {error}"
        ) from error
    return Settings(
        data=str(data),
        identity=Identity(
            portal=values.portal,
            origin=values.origin,
            hypervisor_id=values.hypervisor_id,
            name=values.name,
        ),
        libvirt_uri=values.libvirt_uri,
        stop_guests_on_exit=values.stop_guests_on_exit,
        allow_private_image_urls=values.allow_private_image_urls,
        metadata_user=values.metadata_user,
        log_level=values.log_level,
    )


def read_identity(data: Path) -> Identity | None:
    """Who the host in `data` is, or None before its enrolment. Raises ConfigError."""
    path = data / CONFIG_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Identity)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(
            f"{path} is damaged ({error}): remove it and enrol this host again."
        ) from error


def write_identity(data: Path, identity: Identity) -> None:
    """Remember the enrolment. Settings that a person added to the file are kept."""
    path = data / CONFIG_FILE
    try:
        content = msgspec.json.decode(path.read_bytes(), type=dict)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        content = {}
    content.update(msgspec.to_builtins(identity))
    write_atomically(path, msgspec.json.format(msgspec.json.encode(content)) + b"\n", mode=0o600)
