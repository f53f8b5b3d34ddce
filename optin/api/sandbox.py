"""``GET /sandbox/texts``: the texts of a sandbox, for programs."""

from rest_framework.request import Request
from rest_framework.response import Response

from optin.api.answers import ApiError, Body
from optin.api.views import UserCall
from optin.models import File
from optin.operations import sandbox


class SandboxTextsView(UserCall):
    http_method_names = ["get", "head"]

    def get(self, request: Request) -> Response:
        # The file was read with the caller, by its name only.
        file = File.objects.get(pk=self.file.pk)
        if not file.is_sandbox:
            raise ApiError("not_found")
        texts = [
            Body(
                "SandboxText",
                {
                    "At": text.at.isoformat(),
                    "To": text.to,
                    "Body": text.body,
                    "State": text.state,
                    "Reference": text.reference,
                },
            )
            for text in sandbox.texts_of(file)
        ]
        return Response(Body("SandboxTexts", {"Texts": texts}))
