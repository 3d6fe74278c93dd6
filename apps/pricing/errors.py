"""What can be wrong with a rate or an estimate, in words a person can act on."""


class PricingError(Exception):
    """Base of this app's errors. `field` names the input at fault, where there is one."""

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.field = field


class InvalidRateError(PricingError):
    """A rate that cannot be: negative, endless the wrong way round, of an unknown meter."""


class RateOverlapError(PricingError):
    """A rate for what another rate already prices at some moment."""


class ClosedPeriodError(PricingError):
    """A change of prices within months whose books are closed."""


class RateNotFoundError(PricingError):
    """No such rate of the tenant in scope, or it is closed already."""


class CatalogueFormatError(PricingError):
    """The catalogue package holds something this version cannot read."""


class HardwareError(PricingError):
    """Hardware that cannot be as stated, or is not there."""
