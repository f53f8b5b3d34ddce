"""The texts of a sandbox, for programs. This call is not in the contract."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from optin.api.answers import ApiError
from optin.api.renderers import ApplicationJSON
from optin.api.views import UserCall
from optin.models import File
from optin.operations import sandbox


class SandboxTexts(UserCall):
    """``GET /sandbox/texts?FileId=N``: the texts of the last day, the newest first, in JSON.

    With the credentials of the ``User/`` calls, and refused as they are.
    """

    http_method_names = ["get"]
    renderer_classes = [ApplicationJSON]

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        return ApplicationJSON(), ApplicationJSON.media_type

    def get(self, request: Request) -> Response:
        # The file was read with the caller, by its name only.
        file = File.objects.get(pk=self.file.pk)
        if not file.is_sandbox:
            raise ApiError("not_found")
        texts = [
            {
                "At": text.at.isoformat(),
                "To": text.to,
                "Body": text.body,
                "State": text.state,
                "Reference": text.reference,
            }
            for text in sandbox.texts_of(file)
        ]
        return Response({"Texts": texts})
