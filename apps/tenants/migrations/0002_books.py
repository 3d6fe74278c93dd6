"""Closed months: the last day of the last month whose figures are reported."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial")]
    operations = [
        migrations.AddField(
            model_name="tenant",
            name="books_closed_through",
            field=models.DateField(blank=True, null=True),
        ),
        migrations.RunSQL(
            "ALTER TABLE tenants_tenant ADD CONSTRAINT tenant_books_whole_months"
            " CHECK (extract(day FROM books_closed_through + 1) = 1)",
            "ALTER TABLE tenants_tenant DROP CONSTRAINT tenant_books_whole_months",
        ),
    ]
