"""The service as it is shipped, but for two things that would hide what is measured.

The simulator takes the texts: ``twofa_site.wsgi`` refuses it in production. As settings, this
module has a fast hash of passwords too.
"""

from typing import TYPE_CHECKING

from twofa_site.settings import *  # noqa: F403
from twofa_site.settings import PASSWORD_HASHERS as SHIPPED

if TYPE_CHECKING:
    from twofa_site.handler import Handler

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *SHIPPED]


def application() -> "Handler":
    import django

    django.setup(set_prefix=False)
    from twofa_site.handler import Handler

    return Handler()
