"""A department's code may be as long as the names that usage gives."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0003_manage_scope")]
    operations = [
        migrations.AlterField(
            model_name="department",
            name="code",
            field=models.CharField(max_length=200),
        ),
    ]
