"""Names of files that stand among rows and are none."""

from __future__ import annotations

#: The beginning of the file that no reader can read, while a folder of ADLS is replaced: no reader passes it over for
#: its name, and text readers try to unzip it.
BEING_REPLACED = "part-being-replaced-"
