"""Budgets, their amounts, and the journal of holds, each behind its tenant's wall."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from apps.tenants.rls import append_only, protect


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('pricing', '0004_closed_books'),
        ('tenants', '0002_books'),
    ]

    operations = [
        migrations.CreateModel(
            name='Budget',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200)),
                ('project', models.CharField(max_length=200, null=True)),
                ('provider', models.CharField(max_length=200, null=True)),
                ('model', models.CharField(max_length=200, null=True)),
                ('kind', models.CharField(max_length=10, null=True)),
                ('period', models.CharField(max_length=10)),
                ('unit', models.CharField(max_length=10)),
                ('grant_start', models.DateTimeField(null=True)),
                ('grant_end', models.DateTimeField(null=True)),
                ('rollover', models.BooleanField(default=False)),
                ('on_limit', models.CharField(max_length=10)),
                ('thresholds', django.contrib.postgres.fields.ArrayField(base_field=models.DecimalField(decimal_places=2, max_digits=6), default=list, size=None)),
                ('projected_thresholds', django.contrib.postgres.fields.ArrayField(base_field=models.DecimalField(decimal_places=2, max_digits=6), default=list, size=None)),
                ('created_at', models.DateTimeField()),
                ('created_by', models.CharField(max_length=200)),
                ('changed_at', models.DateTimeField()),
                ('archived_at', models.DateTimeField(null=True)),
                ('api_key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.apikey')),
                ('backend', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='pricing.backend')),
                ('customer', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.customer')),
                ('department', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.department')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='BudgetAmount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount', models.DecimalField(decimal_places=9, max_digits=38)),
                ('effective_from', models.DateTimeField()),
                ('recorded_at', models.DateTimeField()),
                ('actor', models.CharField(max_length=200)),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('budget', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='budgets.budget')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='BudgetSettings',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('cloud_while_unknown', models.CharField(default='refuse', max_length=10)),
                ('local_while_unknown', models.CharField(default='allow', max_length=10)),
                ('hold_seconds', models.PositiveIntegerField(default=600)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='BudgetTopUp',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount', models.DecimalField(decimal_places=9, max_digits=38)),
                ('starts_at', models.DateTimeField()),
                ('ends_at', models.DateTimeField()),
                ('recorded_at', models.DateTimeField()),
                ('actor', models.CharField(max_length=200)),
                ('reason', models.CharField(max_length=500)),
                ('budget', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='budgets.budget')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='Carry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('charge_id', models.BigIntegerField()),
                ('from_start', models.DateTimeField()),
                ('to_start', models.DateTimeField()),
                ('amount', models.DecimalField(decimal_places=24, max_digits=38)),
                ('budget', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='budgets.budget')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='Crossing',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('period_start', models.DateTimeField()),
                ('basis', models.CharField(max_length=10)),
                ('threshold', models.DecimalField(decimal_places=2, max_digits=6)),
                ('amount', models.DecimalField(decimal_places=9, max_digits=38)),
                ('crossed_at', models.DateTimeField()),
                ('budget', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='budgets.budget')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='Hold',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('decision_id', models.UUIDField()),
                ('request_id', models.CharField(max_length=200)),
                ('state', models.CharField(default='open', max_length=10)),
                ('admitted_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('estimate_usd', models.DecimalField(decimal_places=24, max_digits=38)),
                ('estimate_tokens', models.BigIntegerField()),
                ('parts', models.JSONField()),
                ('request', models.JSONField()),
                ('ended_at', models.DateTimeField(null=True)),
                ('charge_id', models.BigIntegerField(null=True)),
                ('counted_parts', models.JSONField(null=True)),
                ('settled_usd', models.DecimalField(decimal_places=24, max_digits=38, null=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
            },
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(('period__in', ['day', 'week', 'month', 'quarter', 'year', 'grant'])), name='budget_period_known'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(('unit__in', ['usd', 'tokens', 'requests'])), name='budget_unit_known'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(('on_limit__in', ['notify', 'throttle', 'refuse'])), name='budget_on_limit_known'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(('kind__isnull', True), ('kind__in', ['cloud', 'local']), _connector='OR'), name='budget_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('grant_end__isnull', False), ('grant_start__isnull', False), ('period', 'grant'), ('grant_start__lt', models.F('grant_end')), ('rollover', False)), models.Q(models.Q(('period', 'grant'), _negated=True), ('grant_end__isnull', True), ('grant_start__isnull', True)), _connector='OR'), name='budget_grant_has_dates'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.UniqueConstraint(models.F('tenant'), models.F('department'), models.F('customer'), models.F('api_key'), models.F('backend'), models.F('project'), models.F('provider'), models.F('model'), models.F('kind'), models.F('period'), models.F('unit'), models.F('on_limit'), models.F('grant_start'), condition=models.Q(('archived_at__isnull', True)), name='budget_once', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='budgetamount',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gte', 0)), name='budget_amount_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='budgetamount',
            constraint=models.UniqueConstraint(fields=('tenant', 'budget', 'effective_from'), name='budget_amount_once'),
        ),
        migrations.AddConstraint(
            model_name='budgetsettings',
            constraint=models.UniqueConstraint(fields=('tenant',), name='budget_settings_once'),
        ),
        migrations.AddConstraint(
            model_name='budgetsettings',
            constraint=models.CheckConstraint(condition=models.Q(('cloud_while_unknown__in', ['refuse', 'allow']), ('local_while_unknown__in', ['refuse', 'allow'])), name='budget_while_unknown_known'),
        ),
        migrations.AddConstraint(
            model_name='budgetsettings',
            constraint=models.CheckConstraint(condition=models.Q(('hold_seconds__gte', 5), ('hold_seconds__lte', 86400)), name='budget_hold_seconds'),
        ),
        migrations.AddConstraint(
            model_name='budgettopup',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gt', 0)), name='budget_top_up_positive'),
        ),
        migrations.AddConstraint(
            model_name='budgettopup',
            constraint=models.CheckConstraint(condition=models.Q(('starts_at__lt', models.F('ends_at'))), name='budget_top_up_ends_later'),
        ),
        migrations.AddConstraint(
            model_name='budgettopup',
            constraint=models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='budget_top_up_has_reason'),
        ),
        migrations.AddConstraint(
            model_name='carry',
            constraint=models.UniqueConstraint(fields=('tenant', 'charge_id', 'budget'), name='budget_carry_once'),
        ),
        migrations.AddConstraint(
            model_name='crossing',
            constraint=models.UniqueConstraint(fields=('tenant', 'budget', 'period_start', 'basis', 'threshold', 'amount'), name='budget_crossing_once'),
        ),
        migrations.AddConstraint(
            model_name='crossing',
            constraint=models.CheckConstraint(condition=models.Q(('basis__in', ['actual', 'projected'])), name='budget_crossing_basis'),
        ),
        migrations.AddIndex(
            model_name='hold',
            index=models.Index(condition=models.Q(('state', 'open')), fields=['tenant', 'expires_at'], name='hold_open'),
        ),
        migrations.AddIndex(
            model_name='hold',
            index=models.Index(condition=models.Q(('counted_parts__isnull', False)), fields=['tenant', 'admitted_at'], name='hold_counted'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.UniqueConstraint(fields=('tenant', 'decision_id'), name='hold_once'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.UniqueConstraint(fields=('tenant', 'request_id'), name='hold_request_once'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['open', 'settled', 'released', 'expired'])), name='hold_state_known'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', True), ('state', 'open')), models.Q(models.Q(('state', 'open'), _negated=True), ('ended_at__isnull', False)), _connector='OR'), name='hold_ended'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.CheckConstraint(condition=models.Q(('expires_at__gt', models.F('admitted_at'))), name='hold_expires_later'),
        ),
        *(
            protect(f"budgets_{table}")
            for table in (
                "budget",
                "budgetamount",
                "budgettopup",
                "hold",
                "carry",
                "crossing",
                "budgetsettings",
            )
        ),
        append_only("budgets_budgetamount"),
        append_only("budgets_carry"),
        append_only("budgets_crossing"),
    ]
