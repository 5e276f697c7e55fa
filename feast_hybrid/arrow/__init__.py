"""Types and conversions of Arrow data, for every room: no Feast, no lakes."""
