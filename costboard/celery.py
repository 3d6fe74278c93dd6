"""The Celery app. What runs when is stated here, in one place."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costboard.settings")

app = Celery("costboard")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
