"""What can go wrong with announcements and forecasts, in words a person can act on."""


class InsightsError(Exception):
    """Base of this app's errors. `field` names the input at fault, where there is one."""

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.field = field


class InvalidPlannedEventError(InsightsError):
    """An announcement that cannot be taken."""


class UnknownPlannedEventError(InsightsError):
    """No such announcement that is not ended already."""


class InvalidForecastPeriodError(InsightsError):
    """A period that no forecast is made for."""


class InvalidAnswerError(InsightsError):
    """An answer, a comment or a choice that cannot be taken."""


class UnknownFindingError(InsightsError):
    """No such finding."""
