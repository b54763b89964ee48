"""`--where`: an SQL condition over a sidecar, run by DuckDB without access to files, extensions or Python objects."""

from pathlib import Path

import numpy as np
import pyarrow.dataset as ds

from logfm.errors import UserError
from logfm.extras import require

_CLOSED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}


def matching_rows(sidecar: Path, where: str) -> np.ndarray:
    """Rows (int64, ascending) of a sidecar that meet a condition; times without a zone are UTC.

    Raises:
        UserError: DuckDB refuses the condition.
    """
    duckdb = require("duckdb", "embed")
    with duckdb.connect(":memory:", config=_CLOSED) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET lock_configuration = true")
        events = connection.from_arrow(ds.dataset(sidecar, format="parquet"))
        try:
            # One expression, not a piece of a statement: it can add no clause and no second statement.
            rows = events.filter(where).project("row").fetchnumpy()["row"]
        except duckdb.Error as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            columns = ", ".join(name for name in events.columns if name != "row")
            raise UserError(f"--where: {reason}", fix=f"The columns are {columns}.") from error
    return np.sort(np.asarray(rows, dtype=np.int64))
