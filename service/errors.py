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


class AddressRefusedError(SourceError):
    """This service may not call the address that a client has named."""


class SinkError(VideoEventsError):
    """A result could not be written."""


class BenchmarkError(VideoEventsError):
    """Something cannot be measured here."""


class StorageError(VideoEventsError):
    """The database or the data directory could not be read or written."""


class UnavailableError(StorageError):
    """What is stored cannot be had: it is damaged, or out of reach just now."""


class ClipNotFoundError(VideoEventsError):
    """There is no clip of this id, or it has been removed."""


class ClipNotReadyError(VideoEventsError):
    """The clip has not come far enough for what was asked of it."""


class ClipRefusedError(VideoEventsError):
    """A clip goes beyond a limit of this service: bytes, frame size or length."""


class ClipFailedError(VideoEventsError):
    """The process that worked on a clip came to a bad end."""


class QueueFullError(VideoEventsError):
    """As much waits already as this service takes in; later there is room again."""


class QuotaError(VideoEventsError):
    """The space given to clips is used up."""


class StreamNotFoundError(VideoEventsError):
    """There is no stream of this name."""


class StreamExistsError(VideoEventsError):
    """There is a stream of this name already."""


class OperatorStreamError(VideoEventsError):
    """The stream is defined on the command line or in the configuration, and changed there only."""


class StoppingError(VideoEventsError):
    """What is to be changed is being stopped: the service, or the process of a stream."""


class StreamLimitError(VideoEventsError):
    """There are as many streams as this service takes."""


class OverloadedError(VideoEventsError):
    """A stream asks for more classifications per second than the network has left.

    ``capacity`` and ``promised`` are those of the network, ``asked`` what the stream wants, ``fits`` what
    it could have; ``waiting_helps`` if the network is slower just now than it can be.
    """

    def __init__(
        self,
        message: str,
        *,
        capacity: float,
        promised: float,
        asked: float,
        fits: float,
        waiting_helps: bool,
    ) -> None:
        super().__init__(message)
        self.figures = {"capacity": capacity, "promised": promised, "asked": asked, "fits": fits}
        self.waiting_helps = waiting_helps


class InferenceError(VideoEventsError):
    """The inference process could not be used."""


class InferenceLostError(InferenceError):
    """The inference process did not answer in time, or came back with another model."""


class InferenceFullError(InferenceError):
    """The inference process serves as many clients as it may."""


class LearningError(VideoEventsError):
    """A label cannot be learned: its name, its examples or the model do not allow it."""


class LabelNotFoundError(VideoEventsError):
    """There is no learned label of this name."""


class LabelExistsError(VideoEventsError):
    """The model has a label of this name already."""
