"""Django's PostgreSQL backend, for a server that may stop and say nothing."""
