"""Machines that lack what developers have; each test makes one in a container."""
