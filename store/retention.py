"""What is too old to keep leaves the warehouse, a folder at a time."""

from datetime import datetime

from store.periods import Period
from store.table_folder import TableFolder


def drop_before(folder: TableFolder, keep_from: datetime) -> int:
    """Remove the folders of a table whose every row is of before `keep_from`; how many they were.

    A folder that can't be read, or does not say how new it is, stays.
    """
    old = [name for name in folder.sizes() if _ended(folder, name, keep_from)]
    folder.remove(old)
    return len(old)


def _ended(folder: TableFolder, name: str, keep_from: datetime) -> bool:
    found = Period.named(name)
    if found is not None:
        return found[0].last_day < keep_from.date()
    return folder.newest_ms(name) < keep_from.timestamp() * 1000
