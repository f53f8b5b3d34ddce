"""What a development start shows of an exception in a page."""

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter

from optin.runtime import logs


class FramesOnly(ExceptionReporter):
    """The type and the frames, as in the log.

    Django's own report has the variables of each frame, the query and the body, and
    among them codes, keys and numbers (S-50).
    """

    def get_traceback_text(self) -> SafeString:
        return SafeString("\n".join(logs.frames_of(self.exc_value)))

    def get_traceback_html(self) -> SafeString:
        frames = "\n".join(logs.frames_of(self.exc_value))
        return format_html("<!doctype html><title>Error</title><pre>{}</pre>", frames)
