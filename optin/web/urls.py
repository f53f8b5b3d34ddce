"""Addresses of the pages for people."""

from django.urls import path

from optin.web import views

urlpatterns = [
    path("", views.home, name="home"),
    path("metrics", views.metrics_page, name="metrics"),
    path("simulator", views.simulator),
    path("simulator/", views.simulator, name="simulator"),
]
