"""Live policies, their history, decisions and shadows, each behind its tenant's wall."""

import django.db.models.deletion
from django.db import migrations, models

from apps.tenants.rls import append_only, door, protect


class Migration(migrations.Migration):

    dependencies = [
        ('routing', '0001_initial'),
        ('tenants', '0004_department_codes'),
    ]

    operations = [
        migrations.CreateModel(
            name='DecisionCharge',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('decision_id', models.UUIDField()),
                ('charge_id', models.BigIntegerField()),
                ('charged_at', models.DateTimeField()),
                ('backend_key', models.CharField(max_length=400)),
                ('cost_usd', models.DecimalField(decimal_places=24, max_digits=38, null=True)),
                ('output_tokens', models.BigIntegerField()),
                ('quality_score', models.FloatField(null=True)),
                ('converted', models.BooleanField(null=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
                'indexes': [models.Index(fields=['tenant', '-charged_at'], name='decision_charge_by_time')],
                'constraints': [models.UniqueConstraint(fields=('tenant', 'decision_id'), name='decision_charge_first')],
            },
        ),
        migrations.CreateModel(
            name='LivePolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('shadow', models.CharField(blank=True, max_length=100)),
                ('version', models.PositiveBigIntegerField()),
                ('document', models.TextField()),
                ('standing', models.JSONField()),
                ('facts', models.JSONField()),
                ('inputs', models.JSONField()),
                ('planned_at', models.DateTimeField()),
                ('issued_at', models.DateTimeField()),
                ('failure', models.TextField(blank=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
                'constraints': [models.UniqueConstraint(fields=('tenant', 'shadow'), name='live_policy_once')],
            },
        ),
        migrations.CreateModel(
            name='PolicyChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('version', models.PositiveBigIntegerField()),
                ('at', models.DateTimeField()),
                ('kind', models.CharField(max_length=10)),
                ('reasons', models.JSONField()),
                ('moved', models.JSONField()),
                ('document', models.TextField()),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
                'indexes': [models.Index(fields=['tenant', '-at'], name='policy_change_by_time')],
                'constraints': [models.CheckConstraint(condition=models.Q(('kind__in', ['plan', 'pace'])), name='policy_change_kind_known'), models.UniqueConstraint(fields=('tenant', 'version'), name='policy_change_once')],
            },
        ),
        migrations.CreateModel(
            name='RoutingDecision',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('decision_id', models.UUIDField()),
                ('decided_at', models.DateTimeField()),
                ('request_id', models.CharField(max_length=200)),
                ('policy_version', models.PositiveBigIntegerField()),
                ('mode', models.CharField(max_length=10)),
                ('department', models.CharField(max_length=200)),
                ('customer', models.CharField(max_length=200, null=True)),
                ('tier', models.CharField(max_length=20)),
                ('task', models.CharField(max_length=200)),
                ('backend', models.CharField(max_length=400, null=True)),
                ('advised', models.CharField(max_length=400, null=True)),
                ('because', models.CharField(max_length=20)),
                ('propensity', models.FloatField()),
                ('input_tokens', models.BigIntegerField()),
                ('estimated_output_tokens', models.FloatField()),
                ('estimated_usd', models.DecimalField(decimal_places=24, max_digits=38)),
                ('held_usd', models.DecimalField(decimal_places=24, max_digits=38)),
                ('value_usd', models.FloatField()),
                ('quality', models.FloatField(null=True)),
                ('reasons', models.JSONField()),
                ('alternatives', models.JSONField()),
                ('shadows', models.JSONField(default=dict)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
                'indexes': [models.Index(fields=['tenant', '-decided_at'], name='decision_by_time')],
                'constraints': [models.UniqueConstraint(fields=('tenant', 'decision_id'), name='decision_once'), models.CheckConstraint(condition=models.Q(('propensity__gt', 0), ('propensity__lte', 1)), name='decision_propensity'), models.CheckConstraint(condition=models.Q(('mode__in', ['observe', 'advise', 'enforce'])), name='decision_mode_known')],
            },
        ),
        migrations.CreateModel(
            name='ShadowPolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('value_model', models.JSONField(null=True)),
                ('budget_factor', models.DecimalField(decimal_places=4, default=1, max_digits=8)),
                ('reason', models.CharField(max_length=500)),
                ('actor', models.CharField(max_length=200)),
                ('created_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(null=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
                'constraints': [models.UniqueConstraint(condition=models.Q(('ended_at', None)), fields=('tenant', 'name'), name='shadow_policy_once'), models.CheckConstraint(condition=models.Q(('budget_factor__gt', 0)), name='shadow_budget_positive'), models.CheckConstraint(condition=models.Q(('name', ''), _negated=True), name='shadow_policy_has_name')],
            },
        ),
        *(
            protect(f"routing_{table}")
            for table in (
                "livepolicy",
                "policychange",
                "routingdecision",
                "decisioncharge",
                "shadowpolicy",
            )
        ),
        append_only("routing_policychange", deletable=True),
        append_only("routing_routingdecision", deletable=True),
        append_only("routing_decisioncharge", deletable=True),
        door(
            "tenants_with_routing()",
            "SETOF bigint",
            "SELECT tenant_id FROM routing_livepolicy UNION SELECT tenant_id"
            " FROM routing_routingmode UNION SELECT tenant_id FROM routing_valuemodelversion",
        ),
    ]
