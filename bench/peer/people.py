"""As ``bench.floor.people``: half of the people have a code waiting, half have no number yet.

python -m bench.peer.people COUNT
"""

import json
import sys
from datetime import timedelta

from bench.floor import people  # it makes Django ready

from django.core.management import call_command
from django.utils import timezone

from bench.peer.models import Phone

if __name__ == "__main__":
    count = int(sys.argv[1])
    made = list(people.make(2 * count).items())
    call_command("migrate", run_syncdb=True, verbosity=0)
    until = timezone.now() + timedelta(days=1)
    phones = Phone.objects.bulk_create(
        Phone(user=user, name="phone", token="1234567", valid_until=until, confirmed=False)
        for _, user in made[:count]
    )
    for (token, _), phone in zip(made, phones, strict=False):
        print(json.dumps({"token": token, "body": {"ProviderUserId": phone.pk, "Otp": "0000000"}}))
    for token, user in made[count:]:
        print(json.dumps({"token": token, "username": user.username}))
