"""The storage contract: subclass `StorageContract`, define the fixture `open_database`, run it with pytest."""

from posthouse.testing.contracts.storage.appending import Appending
from posthouse.testing.contracts.storage.feeding import Conditions, Directories, Feeding
from posthouse.testing.contracts.storage.lists import Lists
from posthouse.testing.contracts.storage.membership import Membership
from posthouse.testing.contracts.storage.opened import OpenDatabase, Opened
from posthouse.testing.contracts.storage.reading import Reading
from posthouse.testing.contracts.storage.talk import Talk


class StorageContract(Appending, Membership, Reading, Lists, Feeding, Directories, Conditions):
    """All of what a `Database` must do, whatever engine it is."""


__all__ = ["OpenDatabase", "Opened", "StorageContract", "Talk"]
