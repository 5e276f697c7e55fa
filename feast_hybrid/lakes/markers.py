"""Names of files that stand among rows and are none."""

from __future__ import annotations

#: The beginning of the file that no reader can read, while a folder of ADLS is replaced: no reader passes it over for
#: its name, and text readers try to unzip it.
BEING_REPLACED = "part-being-replaced-"

#: What whoever meets that file is told.
BEING_REPLACED_ADVICE = (
    "its rows are being replaced at this moment, or a writer died while it did so. Read again; if that does not "
    "help, save the dataset again."
)
