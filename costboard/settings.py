"""Django settings, all from the environment; every default works on a laptop.

DATABASE_URL        the application's role, which row-level security binds
DATABASE_OWNER_URL  the role that owns the tables, used by `migrate` alone
REDIS_URL           Redis or Valkey, for Celery and live state
COSTBOARD_DATA_DIR  where the embedded services live when those URLs are unset
SECRET_KEY          signs sessions; made once and kept in the data folder when unset
ALLOWED_HOSTS       comma-separated host names; default: loopback
COSTBOARD_SECURE    "1" behind TLS: secure cookies and HSTS
COSTBOARD_PROXIES   how many proxies of your own stand before the web server and add to
                    X-Forwarded-For: whose address the limits on signing in go by; default: 1 with
                    COSTBOARD_SECURE, else 0
COSTBOARD_URL       how people reach this installation, for links in e-mails: https://costs.example.com
COSTBOARD_ALERT_ALLOW  networks and hosts beside the Internet that alerts may reach, comma-separated
EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD, EMAIL_TLS (starttls, tls or none),
EMAIL_FROM          the mail server for alerts; without EMAIL_HOST, e-mails are written as files
                    into mail/ of the data folder
COSTBOARD_INGEST_TIME_LIMIT_S    usage, decisions and reservations are answered within so long, 503
                    if PostgreSQL does not answer; 10
COSTBOARD_WEB_WAIT_LIMIT_S       other calls and pages wait so long for one answer of PostgreSQL; 30
COSTBOARD_INGEST_MAX_HELD_BYTES  of bodies that one web process holds, 503 beyond; 256 MiB
"""

import os
from pathlib import Path
from typing import Any

from kombu import Exchange, Queue
from psycopg.conninfo import conninfo_to_dict

from apps.tenants.patience import PatientConnection
from costboard.embedded import default_data_dir, service_urls
from costboard.secret_key import load_or_make_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = default_data_dir()
_embedded = service_urls(DATA_DIR)

DEBUG = False
SECURE = os.environ.get("COSTBOARD_SECURE") == "1"
PROXIES = int(os.environ.get("COSTBOARD_PROXIES") or SECURE)
SECRET_KEY = os.environ.get("SECRET_KEY") or load_or_make_secret_key(DATA_DIR)
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]").split(",")
CSRF_TRUSTED_ORIGINS = [o for o in os.environ.get("CSRF_TRUSTED_ORIGINS", "").split(",") if o]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_htmx",
    "ninja",
    "costboard",
    "apps.tenants",
    "apps.alerts",
    "apps.pricing",
    "apps.usage",
    "apps.insights",
    "apps.budgets",
    "apps.routing",
    "apps.dashboards",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # Its random padding and masked CSRF tokens stand against guessing secrets by size (BREACH).
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "apps.tenants.middleware.ActiveTenantMiddleware",
    "costboard.security.ContentSecurityPolicyMiddleware",
]

ROOT_URLCONF = "costboard.urls"
WSGI_APPLICATION = "costboard.wsgi.application"

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
                "apps.dashboards.context.navigation",
            ],
            "builtins": ["apps.dashboards.templatetags.figures_of_speech"],
        },
    }
]


def _database(url: str, **options: Any) -> dict[str, Any]:
    parts = conninfo_to_dict(url)
    return {
        "ENGINE": "costboard.postgresql",
        "NAME": parts.pop("dbname", ""),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": str(parts.pop("port", "") or ""),
        # A restarted PostgreSQL leaves dead connections behind: they are found, not handed out.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {**parts, **options},
        "TEST": {"MIGRATE": False},
    }


DATABASE_URL = os.environ.get("DATABASE_URL") or _embedded.database_url
DATABASE_OWNER_URL = os.environ.get("DATABASE_OWNER_URL") or (
    "" if os.environ.get("DATABASE_URL") else _embedded.database_owner_url
)
DATABASES = {
    "default": _database(
        DATABASE_URL,
        connect_timeout=4,
        pool={
            "connection_class": PatientConnection,
            "min_size": 1,
            # No fewer than the web server's threads, each of which may hold one while it waits for
            # another's: those that do must not keep it from its own.
            "max_size": 40,
            "timeout": 3,
            "max_idle": 300,
            # Tried again soon, not ever more seldom: PostgreSQL comes back without a word.
            "reconnect_timeout": 2,
        },
    ),
    "owner": _database(DATABASE_OWNER_URL or DATABASE_URL),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = os.environ.get("REDIS_URL") or _embedded.redis_url
CELERY_BROKER_URL = os.environ.get("REDIS_URL") or _embedded.celery_broker_url
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600}
CELERY_TIMEZONE = "UTC"
# What must be done within seconds has a queue of its own, and workers that take nothing else
# (--queues prompt): who visits tenants for minutes must not stand before it. A worker that is
# told no queue takes both.
CELERY_TASK_DEFAULT_QUEUE = "slow"
CELERY_TASK_QUEUES = [Queue(q, Exchange(q), routing_key=q) for q in ("prompt", "slow")]
CELERY_TASK_ROUTES = {
    task: {"queue": "prompt"}
    for task in (
        "apps.usage.tasks.roll_up_pending_usage",
        "apps.budgets.tasks.keep_counters",
        "apps.budgets.tasks.tell_thresholds",
        "apps.alerts.tasks.deliver_alerts",
        "apps.dashboards.tasks.send_password_link",
    )
}
CELERY_BEAT_SCHEDULE = {
    # Expires: a beat that found no worker must not leave a pile behind for the next one.
    "roll-up-pending-usage": {
        "task": "apps.usage.tasks.roll_up_pending_usage",
        "schedule": 1.0,
        "options": {"expires": 5},
    },
    "continue-repricings": {
        "task": "apps.usage.tasks.continue_repricings",
        "schedule": 1.0,
        "options": {"expires": 5},
    },
    "keep-budget-counters": {
        "task": "apps.budgets.tasks.keep_counters",
        "schedule": 2.0,
        "options": {"expires": 5},
    },
    "tell-budget-thresholds": {
        "task": "apps.budgets.tasks.tell_thresholds",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "project-budgets": {
        "task": "apps.budgets.tasks.project_budgets",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "forget-old-budget-counters": {
        "task": "apps.budgets.tasks.forget_old_counters",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "deliver-alerts": {
        "task": "apps.alerts.tasks.deliver_alerts",
        "schedule": 2.0,
        "options": {"expires": 5},
    },
    "continue-imports": {
        "task": "apps.usage.tasks.continue_imports",
        "schedule": 1.0,
        "options": {"expires": 5},
    },
    # Plans are made within it, each hour and when what they are made from changed.
    "pace-policies": {
        "task": "apps.routing.tasks.pace_policies",
        "schedule": 3.0,
        "options": {"expires": 5},
    },
    "store-routing-decisions": {
        "task": "apps.routing.tasks.store_routing_decisions",
        "schedule": 2.0,
        "options": {"expires": 5},
    },
    "forget-routing-decisions": {
        "task": "apps.routing.tasks.forget_routing_decisions",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    # Hours are scored when they are over; between, the running one is looked at.
    "watch-spend": {
        "task": "apps.insights.tasks.watch_spend",
        "schedule": 120.0,
        "options": {"expires": 120},
    },
    # Each hour closes within minutes of its end; between, late usage closes it again.
    "close-hardware-hours": {
        "task": "apps.usage.tasks.close_hardware_hours",
        "schedule": 300.0,
        "options": {"expires": 300},
    },
    "continue-waiting-simulations": {
        "task": "apps.routing.tasks.continue_waiting_simulations",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    # Each tenant once its local day is over.
    "look-for-savings": {
        "task": "apps.routing.tasks.look_for_savings",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
    # More often than hourly: a report is due on the hour, half and quarter hours off UTC too.
    "make-reports": {
        "task": "apps.dashboards.tasks.make_reports",
        "schedule": 300.0,
        "options": {"expires": 300},
    },
    "keep-identity-segments": {
        "task": "apps.usage.tasks.keep_identity_segments",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "maintain-ledger": {
        "task": "apps.usage.tasks.maintain_ledger",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
}

PUBLIC_URL = os.environ.get("COSTBOARD_URL", "").rstrip("/")
ALERT_ALLOW = os.environ.get("COSTBOARD_ALERT_ALLOW", "")
EMAIL_HOST = os.environ.get("EMAIL_HOST", "")
EMAIL_TLS = os.environ.get("EMAIL_TLS", "starttls")
EMAIL_PORT = int(os.environ.get("EMAIL_PORT") or (465 if EMAIL_TLS == "tls" else 587))
EMAIL_HOST_USER = os.environ.get("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = os.environ.get("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS, EMAIL_USE_SSL = EMAIL_TLS == "starttls", EMAIL_TLS == "tls"
EMAIL_TIMEOUT = 10
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'filebased'}.EmailBackend"
EMAIL_FILE_PATH = None if EMAIL_HOST else DATA_DIR / "mail"
DEFAULT_FROM_EMAIL = os.environ.get("EMAIL_FROM", "costboard@localhost")

AUTH_USER_MODEL = "tenants.User"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "login"
# Of a link to a new password, in seconds.
PASSWORD_RESET_TIMEOUT = 3600
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "/static/"
STATIC_ROOT = Path(os.environ.get("COSTBOARD_STATIC_ROOT") or DATA_DIR / "static")
STATICFILES_DIRS = [BASE_DIR / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "costboard.static_files.PlotlyFinder",
]
WHITENOISE_USE_FINDERS = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "costboard.static_files.HashedWhenCollectedStorage"},
}

SESSION_COOKIE_NAME = "costboard_session"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# Ingest checks sizes itself, while it reads; Django's limit would cut legitimate batches.
DATA_UPLOAD_MAX_MEMORY_SIZE = 32 * 1024 * 1024

INGEST_TIME_LIMIT_S = float(os.environ.get("COSTBOARD_INGEST_TIME_LIMIT_S") or 10)
WEB_WAIT_LIMIT_S = float(os.environ.get("COSTBOARD_WEB_WAIT_LIMIT_S") or 30)
INGEST_MAX_HELD_BYTES = int(os.environ.get("COSTBOARD_INGEST_MAX_HELD_BYTES") or 256 * 1024 * 1024)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": os.environ.get("LOG_LEVEL", "INFO")},
}
