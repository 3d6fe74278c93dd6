"""Addresses of the pages."""

from django.urls import path

from apps.dashboards import (
    accounts,
    agreements_page,
    catalogue_page,
    charges_page,
    hardware,
    keys,
    pricing_page,
    repricing_page,
    views,
)

urlpatterns = [
    path("", views.overview, name="overview"),
    path("models", views.models, name="models"),
    path("customers", views.customers, name="customers"),
    path("departments", views.departments, name="departments"),
    path("routing", views.routing, name="routing"),
    *hardware.urlpatterns,
    path("keys", keys.keys, name="keys"),
    path("keys/create", keys.create_key, name="create-key"),
    path("keys/revoke", keys.revoke_key, name="revoke-key"),
    path("keys/first", keys.first_key, name="first-key"),
    path("charges", charges_page.charges, name="charges"),
    path("charges/<int:charge_id>", charges_page.charge, name="charge"),
    path("pricing", pricing_page.pricing, name="pricing"),
    path("pricing/backend", pricing_page.pricing_backend, name="pricing-backend"),
    path("pricing/rates", pricing_page.set_rate, name="set-rate"),
    path("pricing/agreements", agreements_page.agreements, name="agreements"),
    path("pricing/discounts", agreements_page.add_agreed_discount, name="add-discount"),
    path("pricing/default", agreements_page.set_default_rate, name="set-default-rate"),
    path("pricing/agreements/end", agreements_page.end_agreement, name="end-agreement"),
    path("pricing/map", pricing_page.map_model, name="map-model"),
    path("pricing/rates/end", pricing_page.end_own_rate, name="end-rate"),
    path("pricing/catalogue", catalogue_page.catalogue, name="catalogue"),
    path("pricing/catalogue/apply", catalogue_page.apply_catalogue, name="apply-catalogue"),
    path("repricing", repricing_page.repricing, name="repricing"),
    path("repricing/dry-run", repricing_page.ask_dry_run, name="ask-dry-run"),
    path("repricing/books", repricing_page.set_books, name="set-books"),
    path("repricing/start", repricing_page.start_run, name="start-repricing"),
    path("repricing/undo", repricing_page.undo_run, name="undo-repricing"),
    path("login", accounts.sign_in, name="login"),
    path("logout", accounts.sign_out, name="logout"),
    path("switch-tenant", accounts.switch_tenant, name="switch-tenant"),
]
