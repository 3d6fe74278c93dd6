"""Costboard: settings, URLs, the one API, the Celery app, embedded services, command line."""

from costboard.celery import app as celery_app

__all__ = ["celery_app"]
