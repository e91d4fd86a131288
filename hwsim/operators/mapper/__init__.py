"""Mappers: each turns operators into candidate programs for one class of accelerator."""
