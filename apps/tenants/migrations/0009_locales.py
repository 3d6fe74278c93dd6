from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0008_exchange_rates'),
    ]

    operations = [
        migrations.AddField(
            model_name='tenant',
            name='locale',
            field=models.CharField(blank=True, default='', max_length=20),
        ),
        migrations.AddField(
            model_name='user',
            name='locale',
            field=models.CharField(blank=True, default='', max_length=20),
        ),
    ]
