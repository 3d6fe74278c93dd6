"""Value models, modes and overrides, each behind its tenant's wall."""

import django.db.models.deletion
from django.db import migrations, models

from apps.tenants.rls import append_only, protect


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('tenants', '0004_department_codes'),
    ]

    operations = [
        migrations.CreateModel(
            name='RoutingMode',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('effective_from', models.DateTimeField()),
                ('recorded_at', models.DateTimeField()),
                ('actor', models.CharField(max_length=200)),
                ('reason', models.CharField(max_length=500)),
                ('mode', models.CharField(blank=True, max_length=10)),
                ('department', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.department')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
                'constraints': [models.CheckConstraint(condition=models.Q(('mode__in', ['observe', 'advise', 'enforce']), models.Q(('department__isnull', False), ('mode', '')), _connector='OR'), name='routing_mode_known')],
            },
        ),
        migrations.CreateModel(
            name='RoutingOverride',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('action', models.CharField(max_length=10)),
                ('backend_key', models.CharField(max_length=400)),
                ('task', models.CharField(max_length=200, null=True)),
                ('tier', models.CharField(max_length=20, null=True)),
                ('boost_share', models.DecimalField(decimal_places=4, max_digits=6, null=True)),
                ('starts_at', models.DateTimeField()),
                ('ends_at', models.DateTimeField(null=True)),
                ('reason', models.CharField(max_length=500)),
                ('actor', models.CharField(max_length=200)),
                ('recorded_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(null=True)),
                ('ended_by', models.CharField(blank=True, max_length=200)),
                ('department', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.department')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
                'indexes': [models.Index(fields=['tenant', 'ends_at'], name='routing_override_by_end')],
                'constraints': [models.CheckConstraint(condition=models.Q(('action__in', ['pin', 'ban', 'boost'])), name='routing_override_action_known'), models.CheckConstraint(condition=models.Q(('tier__isnull', True), ('tier__in', ['free', 'standard', 'premium', 'enterprise']), _connector='OR'), name='routing_override_tier_known'), models.CheckConstraint(condition=models.Q(('ends_at__isnull', True), ('starts_at__lt', models.F('ends_at')), _connector='OR'), name='routing_override_ends_later'), models.CheckConstraint(condition=models.Q(models.Q(('action', 'boost'), ('boost_share__gt', 0), ('boost_share__lte', 1)), models.Q(models.Q(('action', 'boost'), _negated=True), ('boost_share__isnull', True)), _connector='OR'), name='routing_override_boost_has_share'), models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='routing_override_has_reason'), models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', True), ('ended_by', '')), models.Q(('ended_at__isnull', False), models.Q(('ended_by', ''), _negated=True)), _connector='OR'), name='routing_override_ended_by_someone')],
            },
        ),
        migrations.CreateModel(
            name='ValueModelVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('effective_from', models.DateTimeField()),
                ('recorded_at', models.DateTimeField()),
                ('actor', models.CharField(max_length=200)),
                ('reason', models.CharField(max_length=500)),
                ('number', models.PositiveIntegerField()),
                ('content', models.JSONField()),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
                'indexes': [models.Index(fields=['tenant', '-effective_from'], name='value_model_in_force')],
                'constraints': [models.UniqueConstraint(fields=('tenant', 'number'), name='value_model_number_once'), models.CheckConstraint(condition=models.Q(('number__gte', 1)), name='value_model_from_one'), models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='value_model_has_reason')],
            },
        ),
        protect("routing_valuemodelversion"),
        protect("routing_routingmode"),
        protect("routing_routingoverride"),
        append_only("routing_valuemodelversion"),
        append_only("routing_routingmode"),
    ]
