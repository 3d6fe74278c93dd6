import django.db.models.deletion
from django.db import migrations, models

from apps.tenants.rls import append_only, door, protect


class Migration(migrations.Migration):

    dependencies = [
        ('alerts', '0001_initial'),
        ('tenants', '0008_exchange_rates'),
    ]

    operations = [
        migrations.CreateModel(
            name='Letter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=200)),
                ('subject', models.CharField(max_length=200)),
                ('text', models.TextField()),
                ('html', models.TextField(blank=True)),
                ('file_name', models.CharField(blank=True, max_length=100)),
                ('file', models.BinaryField(default=b'')),
                ('posted_at', models.DateTimeField()),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='LetterDelivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=254)),
                ('target', models.CharField(max_length=2000)),
                ('state', models.CharField(default='pending', max_length=10)),
                ('message_id', models.CharField(max_length=40)),
                ('due_at', models.DateTimeField()),
                ('leased_until', models.DateTimeField(null=True)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('last_error', models.CharField(blank=True, max_length=300)),
                ('ended_at', models.DateTimeField(null=True)),
                ('letter', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='deliveries', to='alerts.letter')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
            },
        ),
        migrations.AddConstraint(
            model_name='letter',
            constraint=models.UniqueConstraint(fields=('tenant', 'key'), name='letter_key_once'),
        ),
        migrations.AddConstraint(
            model_name='letter',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('key', ''), _negated=True), models.Q(('subject', ''), _negated=True), models.Q(('text', ''), _negated=True)), name='letter_says_something'),
        ),
        migrations.AddConstraint(
            model_name='letter',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('file_name', ''), _negated=True), ('file', b''), _connector='OR'), name='letter_file_has_a_name'),
        ),
        migrations.AddIndex(
            model_name='letterdelivery',
            index=models.Index(condition=models.Q(('state', 'pending')), fields=['tenant', 'due_at'], name='letter_due'),
        ),
        migrations.AddIndex(
            model_name='letterdelivery',
            index=models.Index(condition=models.Q(('state', 'sending')), fields=['tenant', 'leased_until'], name='letter_leased'),
        ),
        migrations.AddConstraint(
            model_name='letterdelivery',
            constraint=models.UniqueConstraint(fields=('tenant', 'letter', 'target'), name='letter_once_a_recipient'),
        ),
        migrations.AddConstraint(
            model_name='letterdelivery',
            constraint=models.UniqueConstraint(fields=('tenant', 'message_id'), name='letter_message_once'),
        ),
        migrations.AddConstraint(
            model_name='letterdelivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', True), ('leased_until__isnull', True), ('state', 'pending')), models.Q(('ended_at__isnull', True), ('leased_until__isnull', False), ('state', 'sending')), models.Q(('ended_at__isnull', False), ('leased_until__isnull', True), ('state__in', ['sent', 'failed', 'unknown'])), _connector='OR'), name='letter_state_has_its_times'),
        ),
        migrations.AddConstraint(
            model_name='letterdelivery',
            constraint=models.CheckConstraint(condition=models.Q(('target', ''), _negated=True), name='letter_has_an_address'),
        ),
        protect("alerts_letter"),
        protect("alerts_letterdelivery"),
        append_only("alerts_letter"),
        door(
            "tenants_with_due_letters(moment timestamptz)",
            "SETOF bigint",
            "SELECT tenant_id FROM alerts_letterdelivery"
            " WHERE state = 'pending' AND due_at <= moment"
            " UNION SELECT tenant_id FROM alerts_letterdelivery"
            " WHERE state = 'sending' AND leased_until <= moment",
        ),
    ]
