"""The storage contract: subclass `StorageContract`, or `RoutedContract` for several databases behind a router, define
the fixture `open_database`, run it with pytest."""

from posthouse.testing.contracts.storage.appending import Appending
from posthouse.testing.contracts.storage.feeding import Charters, Conditions, Directories, Feeding, Lasting
from posthouse.testing.contracts.storage.lists import Lists
from posthouse.testing.contracts.storage.membership import Membership
from posthouse.testing.contracts.storage.opened import OpenDatabase, Opened
from posthouse.testing.contracts.storage.reading import Reading
from posthouse.testing.contracts.storage.talk import Talk
from posthouse.testing.contracts.storage.trimming import Trimmed


class RoutedContract(Appending, Membership, Reading, Lists, Directories, Lasting):
    """All of what a `Storage` must do, however many databases there are. It is opened as if it were a `Database`."""


class StorageContract(RoutedContract, Feeding, Conditions, Charters):
    """All of what a `Database` must do, whatever engine it is."""


class TrimmingContract(Trimmed):
    """All of what an engine must do that can cut logs back."""


__all__ = ["OpenDatabase", "Opened", "RoutedContract", "StorageContract", "Talk", "TrimmingContract"]
