"""Addresses of the pages for people."""

from django.urls import path, re_path

from optin.web import views

urlpatterns = [
    path("", views.home, name="home"),
    re_path(r"^simulator/?$", views.simulator, name="simulator"),
]
