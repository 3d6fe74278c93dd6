"""Simulations, opportunities and hindsight, each behind its tenant's wall."""

import django.db.models.deletion
from django.db import migrations, models

from apps.tenants.rls import protect


class Migration(migrations.Migration):

    dependencies = [
        ('routing', '0002_live_policy'),
        ('tenants', '0006_people'),
    ]

    operations = [
        migrations.CreateModel(
            name='Hindsight',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('period', models.CharField(max_length=5)),
                ('first_day', models.DateField()),
                ('requests', models.BigIntegerField()),
                ('spent_usd', models.DecimalField(decimal_places=6, max_digits=20)),
                ('done_usd', models.DecimalField(decimal_places=6, max_digits=20)),
                ('bound_usd', models.DecimalField(decimal_places=6, max_digits=20)),
                ('causes', models.JSONField(default=list)),
                ('value_model', models.PositiveIntegerField()),
                ('computed_at', models.DateTimeField()),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
                'constraints': [models.UniqueConstraint(fields=('tenant', 'period', 'first_day'), name='hindsight_once'), models.CheckConstraint(condition=models.Q(('period__in', ['day', 'month'])), name='hindsight_period_known'), models.CheckConstraint(condition=models.Q(('done_usd__lte', models.F('bound_usd'))), name='hindsight_bound_is_above')],
            },
        ),
        migrations.CreateModel(
            name='Opportunity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=300)),
                ('kind', models.CharField(max_length=12)),
                ('state', models.CharField(default='open', max_length=10)),
                ('saving_usd', models.DecimalField(decimal_places=6, max_digits=20)),
                ('saving_low_usd', models.DecimalField(decimal_places=6, max_digits=20)),
                ('saving_high_usd', models.DecimalField(decimal_places=6, max_digits=20)),
                ('gain_usd', models.DecimalField(decimal_places=6, max_digits=20)),
                ('gain_low_usd', models.DecimalField(decimal_places=6, max_digits=20)),
                ('gain_high_usd', models.DecimalField(decimal_places=6, max_digits=20)),
                ('rate_usd', models.DecimalField(decimal_places=6, max_digits=20)),
                ('replayed_usd', models.DecimalField(decimal_places=6, max_digits=20)),
                ('quality_points', models.FloatField()),
                ('quality_low_points', models.FloatField()),
                ('quality_high_points', models.FloatField()),
                ('requests', models.FloatField()),
                ('confidence', models.CharField(max_length=6)),
                ('change', models.JSONField()),
                ('facts', models.JSONField()),
                ('window_start', models.DateTimeField()),
                ('window_end', models.DateTimeField()),
                ('found_at', models.DateTimeField()),
                ('computed_at', models.DateTimeField()),
                ('decided_at', models.DateTimeField(null=True)),
                ('decided_by', models.CharField(blank=True, max_length=200)),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('applied', models.JSONField(default=dict)),
                ('realised_usd', models.DecimalField(decimal_places=6, max_digits=20, null=True)),
                ('realised_until', models.DateTimeField(null=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
                'constraints': [models.UniqueConstraint(condition=models.Q(('state', 'open')), fields=('tenant', 'key'), name='opportunity_open_once'), models.CheckConstraint(condition=models.Q(('kind__in', ('move', 'drop', 'cache', 'batch', 'cap', 'local', 'runaway', 'retries', 'renegotiate'))), name='opportunity_kind_known'), models.CheckConstraint(condition=models.Q(('state__in', ['open', 'accepted', 'dismissed', 'gone'])), name='opportunity_state_known'), models.CheckConstraint(condition=models.Q(('saving_low_usd__lte', models.F('saving_usd')), ('saving_usd__lte', models.F('saving_high_usd'))), name='opportunity_saving_in_interval'), models.CheckConstraint(condition=models.Q(('state__in', ['open', 'gone']), models.Q(('decided_at__isnull', False), models.Q(('decided_by', ''), _negated=True)), _connector='OR'), name='opportunity_decided_by_someone')],
            },
        ),
        migrations.CreateModel(
            name='Simulation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200)),
                ('asked', models.JSONField()),
                ('state', models.CharField(default='queued', max_length=10)),
                ('progress', models.PositiveSmallIntegerField(default=0)),
                ('result', models.JSONField(null=True)),
                ('error', models.CharField(blank=True, max_length=500)),
                ('actor', models.CharField(max_length=200)),
                ('created_at', models.DateTimeField()),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['queued', 'running', 'done', 'failed'])), name='simulation_state_known'), models.CheckConstraint(condition=models.Q(('progress__lte', 100)), name='simulation_progress_of_100'), models.CheckConstraint(condition=models.Q(models.Q(('state', 'done'), _negated=True), ('result__isnull', False), _connector='OR'), name='simulation_done_has_result')],
            },
        ),
        protect("routing_simulation"),
        protect("routing_opportunity"),
        protect("routing_hindsight"),
    ]
