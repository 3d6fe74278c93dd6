"""What can go wrong with alerts and channels, in words a person can act on."""


class AlertsError(Exception):
    """Base of this app's errors. `field` names the input at fault, where there is one."""

    field: str | None = None

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.field = field


class InvalidAlertError(AlertsError):
    """An alert whose key, kind, path or amount cannot be taken: an error of its raiser."""


class InvalidChannelError(AlertsError):
    """Settings of a channel that cannot be taken."""


class AddressRefusedError(InvalidChannelError):
    """An address that messages may not be sent to."""


class ChannelNotFoundError(AlertsError):
    """There is no such channel in this tenant, or it was removed."""


class TooManyTestsError(AlertsError):
    """The test button was pressed more often than it may be."""
