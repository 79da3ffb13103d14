"""The configuration as frozen values: a YAML file, the environment and flags, checked in one place.

A key is known here and nowhere else. Never connects, never imports users' code, never shows a password, and
never raises anything but ConfigError: one line that names where a value came from, its key, and what is allowed.
"""

from pgsched.config.dsn import EMBEDDED, is_embedded, masked_dsn
from pgsched.config.loading import default_file, load_settings
from pgsched.config.settings import Settings, settings_as_shown

__all__ = [
    "EMBEDDED",
    "Settings",
    "default_file",
    "is_embedded",
    "load_settings",
    "masked_dsn",
    "settings_as_shown",
]
