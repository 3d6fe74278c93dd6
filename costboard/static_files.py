"""Static files: ours, htmx from the django-htmx wheel, Plotly's one script from its wheel."""

from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage
from whitenoise.storage import CompressedManifestStaticFilesStorage

PLOTLY_FILE = "plotly.min.js"


class PlotlyFinder(BaseFinder):
    """Finds the one file of the plotly wheel that pages need, as `plotly.min.js`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.folder = Path(str(files("plotly") / "package_data"))
        self.storage = FileSystemStorage(location=self.folder)

    def find(self, path: str, find_all: bool = False) -> Any:
        # Django's finders answer an empty list for "not here", whatever was asked.
        if path != PLOTLY_FILE:
            return []
        found = str(self.folder / PLOTLY_FILE)
        return [found] if find_all else found

    def check(self, **kwargs: Any) -> list[Any]:  # noqa: ARG002
        return []

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, Any]]:  # noqa: ARG002
        yield PLOTLY_FILE, self.storage


class HashedWhenCollectedStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Hashed, compressed, cached for good after `collectstatic`; plain names before it.

    Tests and a first start need no build step, production caches without limit.
    """

    manifest_strict = False

    def stored_name(self, name: str) -> str:
        return super().stored_name(name) if self.hashed_files else name
