"""The database's own word on closed months: no rate within them appears, goes or changes."""

from django.db import migrations

KEY = """meter, "when", tier_start_tokens, coalesce(window_start_s, -1) AS window_start_s,
    coalesce(window_end_s, -1) AS window_end_s, price_usd, unit_quantity"""

# A change closes a row and records what goes on in its place, so rows as such prove nothing. What
# must be equal within the closed months is the time that each price covers, before and after.
# Deferred: the closing and its successors are one transaction, and are judged together.
GUARD = f"""
CREATE FUNCTION refuse_rates_in_closed_books() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
    closed_through date;
    closed tstzrange;
    revision bigint := coalesce(NEW.closed_revision, NEW.recorded_revision);
BEGIN
    SELECT books_closed_through,
        tstzrange(NULL, (books_closed_through + 1)::timestamp AT TIME ZONE time_zone)
    INTO closed_through, closed FROM tenants_tenant WHERE id = NEW.tenant_id;
    IF closed_through IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM 1 FROM (
        SELECT {KEY}, range_agg(tstzrange(effective_from, effective_to) * closed) AS span
        FROM pricing_tenantrate
        WHERE tenant_id = NEW.tenant_id AND provider = NEW.provider AND model = NEW.model
            AND closed_revision = revision
        GROUP BY 1, 2, 3, 4, 5, 6, 7
    ) AS gone FULL JOIN (
        SELECT {KEY}, range_agg(tstzrange(effective_from, effective_to) * closed) AS span
        FROM pricing_tenantrate
        WHERE tenant_id = NEW.tenant_id AND provider = NEW.provider AND model = NEW.model
            AND recorded_revision = revision
        GROUP BY 1, 2, 3, 4, 5, 6, 7
    ) AS came USING (
        meter, "when", tier_start_tokens, window_start_s, window_end_s, price_usd, unit_quantity
    )
    WHERE coalesce(gone.span, '{{}}') <> coalesce(came.span, '{{}}');
    IF FOUND THEN
        RAISE EXCEPTION 'prices of %/% would change in months whose books are closed (through %)',
            NEW.provider, NEW.model, closed_through
            USING ERRCODE = 'check_violation', CONSTRAINT = 'tenant_rate_books_open';
    END IF;
    RETURN NULL;
END
$body$;
CREATE CONSTRAINT TRIGGER tenant_rate_books_open
    AFTER INSERT OR UPDATE ON pricing_tenantrate
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refuse_rates_in_closed_books();
"""


class Migration(migrations.Migration):
    dependencies = [("pricing", "0003_hardware"), ("tenants", "0002_books")]
    operations = [
        migrations.RunSQL(
            GUARD,
            "DROP TRIGGER tenant_rate_books_open ON pricing_tenantrate;"
            "DROP FUNCTION refuse_rates_in_closed_books();",
        ),
    ]
