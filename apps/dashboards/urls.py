"""Addresses of the pages."""

from django.urls import path

from apps.dashboards import accounts, keys, views

urlpatterns = [
    path("", views.overview, name="overview"),
    path("models", views.models, name="models"),
    path("customers", views.customers, name="customers"),
    path("departments", views.departments, name="departments"),
    path("routing", views.routing, name="routing"),
    path("keys", keys.keys, name="keys"),
    path("keys/create", keys.create_key, name="create-key"),
    path("keys/revoke", keys.revoke_key, name="revoke-key"),
    path("keys/first", keys.first_key, name="first-key"),
    path("login", accounts.sign_in, name="login"),
    path("logout", accounts.sign_out, name="logout"),
    path("switch-tenant", accounts.switch_tenant, name="switch-tenant"),
]
