"""What second factors share."""

from django_otp.models import Device


class FactorDevice(Device):
    """A second factor, so that ``devices_for_user`` and ``user.is_verified`` of django-otp see it.

    It checks nothing by itself: only ``operations`` do, which count and audit each attempt.
    """

    class Meta:
        abstract = True

    def verify_token(self, token: str) -> bool:
        return False
