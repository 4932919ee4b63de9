"""Where the pixels of photographs and handwriting come from: files of the user, a download, or scikit-learn."""

from ...base.errors import BenchmarkError


class SourceError(BenchmarkError):
    """The images that a dataset is made from are missing or damaged. Says where it looked and what to do."""

    of_data = True


class MissingSourceError(SourceError):
    """There are no such files under the data root: another data root may have them."""
