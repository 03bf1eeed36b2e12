"""`candlecast sql`: a Spark SQL query over the warehouse, printed as a table."""

from pathlib import Path
from typing import Final

VIEWS: Final = Path(__file__).parent.parent / "sql" / "views.sql"
TABLES: Final = {
    "bars": ("bars",),
    "predictions": ("predictions",),
    "scored": ("bars", "predictions"),
}
