# One image for web, worker, beat and migrations.
FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 COSTBOARD_STATIC_ROOT=/srv/static \
    COSTBOARD_DATA_DIR=/srv/data
WORKDIR /srv/costboard
COPY pyproject.toml constraints.txt README.md ./
RUN pip install --no-cache-dir -c constraints.txt .
COPY . .
RUN useradd --system --create-home costboard \
    && mkdir -p /srv/data /srv/static && chown costboard /srv/data /srv/static
USER costboard
RUN SECRET_KEY=build-time-only python manage.py collectstatic --noinput
EXPOSE 8000
CMD ["granian", "--interface", "wsgi", "costboard.wsgi:application", \
     "--host", "0.0.0.0", "--port", "8000", "--workers", "2", "--blocking-threads", "32"]
