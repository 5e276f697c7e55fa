"""``feast-hybrid doctor``: whether this machine, each site and Spark can do what a repository asks of them."""
