"""People: invitations, ending every session, and counting attempts to sign in."""

import django.db.models.deletion
import django.db.models.functions.text
from django.db import migrations, models

from apps.tenants.rls import door, protect


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0005_contracts'),
    ]

    operations = [
        migrations.AddField(
            model_name='user',
            name='sign_outs',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.CreateModel(
            name='SignInCount',
            fields=[
                ('subject', models.BinaryField(max_length=32, primary_key=True, serialize=False)),
                ('attempts', models.PositiveIntegerField()),
                ('ends_at', models.DateTimeField()),
            ],
            options={
                'indexes': [models.Index(fields=['ends_at'], name='sign_in_count_by_end')],
            },
        ),
        migrations.CreateModel(
            name='Invitation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('email', models.EmailField(max_length=254)),
                ('role', models.CharField(choices=[('viewer', 'Viewer'), ('admin', 'Admin'), ('owner', 'Owner')], max_length=10)),
                ('token_hash', models.BinaryField(max_length=32, unique=True)),
                ('invited_by', models.CharField(max_length=200)),
                ('created_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('accepted_at', models.DateTimeField(blank=True, null=True)),
                ('withdrawn_at', models.DateTimeField(blank=True, null=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
                'constraints': [models.UniqueConstraint(models.F('tenant'), django.db.models.functions.text.Lower('email'), condition=models.Q(('accepted_at__isnull', True), ('withdrawn_at__isnull', True)), name='invitation_open_once'), models.CheckConstraint(condition=models.Q(('role__in', ['viewer', 'admin', 'owner'])), name='invitation_role_known'), models.CheckConstraint(condition=models.Q(('accepted_at__isnull', True), ('withdrawn_at__isnull', True), _connector='OR'), name='invitation_one_end')],
            },
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["tenant", "-id"], name="audit_by_number"),
        ),
        protect("tenants_invitation"),
        door(
            "find_invitation(hash bytea, moment timestamptz)",
            "TABLE (id bigint, tenant_id bigint, tenant_name text, email text, role text)",
            "SELECT i.id, t.id, t.name::text, i.email::text, i.role::text"
            " FROM tenants_invitation AS i JOIN tenants_tenant AS t ON t.id = i.tenant_id"
            " WHERE i.token_hash = hash AND i.accepted_at IS NULL AND i.withdrawn_at IS NULL"
            " AND i.expires_at > moment",
        ),
    ]
