"""Everything that can go wrong in a way a user can act upon.

A message says what was received, what was expected and what to do about it.
"""


class VideoEventsError(Exception):
    """Base of all errors that this service raises on purpose."""


class ConfigurationError(VideoEventsError):
    """A setting has a value that cannot work."""


class SourceError(VideoEventsError):
    """A source of video could not be opened or read."""


class SourceNotFoundError(SourceError):
    """There is no such file, host or device."""


class NotAVideoError(SourceError):
    """The bytes are there, but no decoder makes video of them."""


class NoFramesError(SourceError):
    """A container with a video stream of which not one frame decodes."""


class SourceTimeoutError(SourceError):
    """The source did not answer in time."""


class SourceAuthenticationError(SourceError):
    """The source wants other credentials."""


class SourceEndedEarlyError(SourceError):
    """The source stopped before the end that its container announces."""


class SinkError(VideoEventsError):
    """A result could not be written."""
