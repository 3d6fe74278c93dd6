"""Settings of the measured web server: production's, and an address that does nothing."""

from costboard.settings import *  # noqa: F403

ROOT_URLCONF = "bench.web_urls"
MORE_HOT_PATHS = ("/noop/short",)
