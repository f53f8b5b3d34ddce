"""Addresses of the pages for people."""

from django.urls import path

from optin.web import health, views

urlpatterns = [
    path("", views.home, name="home"),
    path("metrics", views.metrics_page, name="metrics"),
    path("simulator", views.simulator),
    path("simulator/", views.simulator, name="simulator"),
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
]
