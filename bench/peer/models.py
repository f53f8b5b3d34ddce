"""A phone, as django-otp's own device for mails is written."""

import json
import os
from pathlib import Path

from django.db import models
from django_otp.models import SideChannelDevice, ThrottlingMixin


class Phone(ThrottlingMixin, SideChannelDevice):
    number = models.CharField(max_length=20)

    def generate_challenge(self) -> None:
        """Make a code, and send it to the simulator: a file."""
        self.generate_token(length=7)
        text = {"to": self.number, "body": f"Your code is {self.token}"}
        with Path(os.environ["DATA_DIR"], "sms.jsonl").open("a") as texts:
            texts.write(json.dumps(text) + "\n")

    def verify_token(self, token: str) -> bool:
        allowed, _ = self.verify_is_allowed()
        if not allowed:
            return False
        if not super().verify_token(token):
            self.throttle_increment()
            return False
        self.throttle_reset(commit=False)
        self.confirmed = True
        self.save()
        return True

    def get_throttle_factor(self) -> float:
        return 1
