"""The files of the Feast repo that the demo leaves behind."""
