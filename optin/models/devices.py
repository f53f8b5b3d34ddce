"""What second factors share."""

from django_otp.models import Device


class FactorDevice(Device):
    """A second factor, so that ``devices_for_user`` and ``user.is_verified`` of django-otp see it.

    It checks nothing by itself: ``operations`` are the one way, and they count and audit it.
    """

    class Meta:
        abstract = True

    def verify_token(self, token: str) -> bool:
        return False
